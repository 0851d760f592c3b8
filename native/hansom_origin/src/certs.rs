//! Certificates for tests: one good set, and one for each way a certificate can be bad.
//!
//! Every NAME is `NAME.pem` (leaf first, then intermediates) and `NAME-key.pem` (PKCS #8). [`NAMES`] lists them.

use std::fmt;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use pem::Pem;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, PKCS_RSA_SHA256, date_time_ymd,
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const TEN_YEARS: Duration = Duration::from_secs(3652 * 24 * 60 * 60);

/// The names a server on this machine is reached by.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// All names that are written, and what is particular about each.
pub const NAMES: &[(&str, &str)] = &[
    ("ca", "the authority that signs all but those said to be otherwise"),
    ("server", "localhost, 127.0.0.1 and ::1; EC P-256"),
    ("server-rsa", "the same with RSA 2048; server-rsa-pkcs1-key.pem is its key as PKCS #1"),
    ("client", "for client authentication"),
    ("other-ca", "an authority nobody trusts"),
    ("other-server", "the names of `server`, signed by other-ca"),
    ("other-client", "for client authentication, signed by other-ca"),
    ("expired", "the names of `server`, valid in 2020 only"),
    ("not-yet-valid", "the names of `server`, valid from 2090"),
    ("wrong-name", "wrong.example"),
    ("wildcard", "*.localhost.test"),
    ("intermediate-ca", "an authority signed by ca"),
    ("server-chain", "the names of `server`, signed by intermediate-ca, which follows in the file"),
    ("server-no-chain", "as server-chain, with the intermediate left out"),
    ("cn-only", "common name localhost, no subject alternative name"),
    ("ca-as-server", "the names of `server`, marked as an authority"),
    ("client-as-server", "the names of `server`, for client authentication only"),
    ("self-signed", "the names of `server`, signed by itself"),
];

/// Writes the whole set into this folder, which is created where needed. Files that are there are replaced.
pub fn write(folder: &Path) -> Result<(), CertsError> {
    fs::create_dir_all(folder).map_err(|reason| CertsError::Write(folder.to_owned(), reason))?;
    let files = Files { folder };

    let ca = Authority::root("hansom test CA")?;
    files.write("ca", &[&ca.certificate], ca.key())?;
    let other_ca = Authority::root("hansom test CA nobody trusts")?;
    files.write("other-ca", &[&other_ca.certificate], other_ca.key())?;
    let intermediate = Authority::below("hansom test intermediate CA", &ca)?;
    files.write(
        "intermediate-ca",
        &[&intermediate.certificate, &ca.certificate],
        intermediate.key(),
    )?;

    let server = || leaf("localhost", &LOCAL, ExtendedKeyUsagePurpose::ServerAuth);
    let client = || leaf("hansom test client", &[], ExtendedKeyUsagePurpose::ClientAuth);

    let mut expired = server()?;
    expired.not_before = date_time_ymd(2020, 1, 1);
    expired.not_after = date_time_ymd(2021, 1, 1);
    let mut not_yet_valid = server()?;
    not_yet_valid.not_before = date_time_ymd(2090, 1, 1);
    not_yet_valid.not_after = date_time_ymd(2100, 1, 1);
    let mut ca_as_server = server()?;
    ca_as_server.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    ca_as_server.key_usages.push(KeyUsagePurpose::KeyCertSign);

    let server_only = ExtendedKeyUsagePurpose::ServerAuth;
    for (name, params, issuer) in [
        ("server", server()?, &ca),
        ("client", client()?, &ca),
        ("other-server", server()?, &other_ca),
        ("other-client", client()?, &other_ca),
        ("expired", expired, &ca),
        ("not-yet-valid", not_yet_valid, &ca),
        ("wrong-name", leaf("wrong.example", &["wrong.example"], server_only.clone())?, &ca),
        ("wildcard", leaf("*.localhost.test", &["*.localhost.test"], server_only.clone())?, &ca),
        ("cn-only", leaf("localhost", &[], server_only)?, &ca),
        ("ca-as-server", ca_as_server, &ca),
        ("client-as-server", leaf("localhost", &LOCAL, ExtendedKeyUsagePurpose::ClientAuth)?, &ca),
    ] {
        let key = KeyPair::generate()?;
        files.write(name, &[&params.signed_by(&key, &issuer.issuer)?], &key)?;
    }

    let chain_key = KeyPair::generate()?;
    let chain_leaf = server()?.signed_by(&chain_key, &intermediate.issuer)?;
    files.write("server-chain", &[&chain_leaf, &intermediate.certificate], &chain_key)?;
    files.write("server-no-chain", &[&chain_leaf], &chain_key)?;

    let self_signed_key = KeyPair::generate()?;
    let self_signed = server()?.self_signed(&self_signed_key)?;
    files.write("self-signed", &[&self_signed], &self_signed_key)?;

    let rsa_key = KeyPair::generate_for(&PKCS_RSA_SHA256)?;
    let rsa = server()?.signed_by(&rsa_key, &ca.issuer)?;
    files.write("server-rsa", &[&rsa], &rsa_key)?;
    let pkcs8 = rsa_key.serialize_der();
    let pkcs1 = private_key_of_pkcs8(&pkcs8).ok_or(CertsError::Pkcs8)?;
    files.put("server-rsa-pkcs1-key", &pem::encode(&Pem::new("RSA PRIVATE KEY", pkcs1)))
}

struct Authority {
    certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn root(name: &str) -> Result<Self, CertsError> {
        let params = authority(name)?;
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?;
        Ok(Authority { certificate, issuer: Issuer::new(params, key) })
    }

    fn below(name: &str, parent: &Authority) -> Result<Self, CertsError> {
        let params = authority(name)?;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &parent.issuer)?;
        Ok(Authority { certificate, issuer: Issuer::new(params, key) })
    }

    fn key(&self) -> &KeyPair {
        self.issuer.key()
    }
}

fn authority(name: &str) -> Result<CertificateParams, CertsError> {
    let mut params = named(name, &[])?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

fn leaf(
    name: &str,
    alternatives: &[&str],
    purpose: ExtendedKeyUsagePurpose,
) -> Result<CertificateParams, CertsError> {
    let mut params = named(name, alternatives)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn named(name: &str, alternatives: &[&str]) -> Result<CertificateParams, CertsError> {
    let alternatives: Vec<String> = alternatives.iter().map(|name| (*name).into()).collect();
    let mut params = CertificateParams::new(alternatives)?;
    params.distinguished_name.push(DnType::CommonName, name);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // A day of allowance for clocks that differ.
    params.not_before = date_time_ymd(1970, 1, 1) + now.saturating_sub(DAY);
    params.not_after = date_time_ymd(1970, 1, 1) + now.saturating_add(TEN_YEARS);
    Ok(params)
}

/// The `privateKey` of a PKCS #8 structure (RFC 5208): for RSA that is the PKCS #1 structure.
fn private_key_of_pkcs8(der: &[u8]) -> Option<&[u8]> {
    let (sequence, _) = der_element(der, 0x30)?;
    let (_version, rest) = der_element(sequence, 0x02)?;
    let (_algorithm, rest) = der_element(rest, 0x30)?;
    der_element(rest, 0x04).map(|(key, _)| key)
}

/// The contents of the DER element at the start, if it has this tag, and what follows it.
fn der_element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = if *first < 0x80 {
        (usize::from(*first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        let length = digits.iter().try_fold(0_usize, |length, digit| {
            length.checked_mul(256)?.checked_add((*digit).into())
        })?;
        (length, rest)
    };
    if *found == tag { rest.split_at_checked(length) } else { None }
}

struct Files<'a> {
    folder: &'a Path,
}

impl Files<'_> {
    fn write(&self, name: &str, chain: &[&Certificate], key: &KeyPair) -> Result<(), CertsError> {
        self.put(name, &chain.iter().map(|certificate| certificate.pem()).collect::<String>())?;
        self.put(&format!("{name}-key"), &key.serialize_pem())
    }

    fn put(&self, name: &str, text: &str) -> Result<(), CertsError> {
        let path = self.folder.join(format!("{name}.pem"));
        fs::write(&path, text).map_err(|reason| CertsError::Write(path, reason))
    }
}

/// Why the set cannot be written.
#[derive(Debug)]
pub enum CertsError {
    /// A key or certificate cannot be made.
    Generate(rcgen::Error),
    /// A file or the folder cannot be written.
    Write(PathBuf, io::Error),
    /// The RSA key came in an unknown structure.
    Pkcs8,
}

impl From<rcgen::Error> for CertsError {
    fn from(reason: rcgen::Error) -> Self {
        CertsError::Generate(reason)
    }
}

impl fmt::Display for CertsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CertsError::Generate(reason) => write!(f, "cannot make a certificate: {reason}"),
            CertsError::Write(path, reason) => write!(f, "{}: {reason}", path.display()),
            CertsError::Pkcs8 => f.write_str("the RSA key is not in PKCS #8"),
        }
    }
}

impl std::error::Error for CertsError {}
