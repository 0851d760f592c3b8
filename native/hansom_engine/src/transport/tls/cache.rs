//! Prepared configurations, shared by options.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use rustls::ClientConfig;
use rustls::crypto::hash::Context;

use super::{TlsOptions, client_config};
use crate::error::Error;
use crate::transport::quic::Prepared;

/// How many configurations are kept. One holds roots (some 100 KiB, less for Mozilla's) and the
/// sessions of up to 128 servers.
const CAPACITY: usize = 128;

type Shared<T> = LazyLock<Mutex<Recent<T>>>;

static TCP: Shared<ClientConfig> = LazyLock::new(|| Mutex::new(Recent::new(CAPACITY)));
static QUIC: Shared<Prepared> = LazyLock::new(|| Mutex::new(Recent::new(CAPACITY)));

/// The configuration for `options`, made if it is not at hand. May take tens of milliseconds.
pub(super) fn prepare(options: &TlsOptions) -> Result<Arc<ClientConfig>, Error> {
    find_or_build(&TCP, digest(options)?, || client_config::build(options))
}

/// The same for QUIC.
pub(super) fn prepare_quic(options: &TlsOptions) -> Result<Arc<Prepared>, Error> {
    find_or_build(&QUIC, digest(options)?, || client_config::build_quic(options))
}

fn find_or_build<T>(
    shared: &Shared<T>,
    key: Key,
    build: impl FnOnce() -> Result<T, Error>,
) -> Result<Arc<T>, Error> {
    // Held while building, so that many first connections at once build only one.
    let mut shared = shared.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(config) = shared.get(&key) {
        return Ok(config);
    }
    let config = Arc::new(build()?);
    shared.insert(key, Arc::clone(&config));
    Ok(config)
}

type Key = [u8; 32];

/// SHA-256 of every field: sessions must never cross from one set of options to another, so a
/// short hash would not do, and the options themselves are large and hold private keys.
fn digest(options: &TlsOptions) -> Result<Key, Error> {
    let unavailable =
        || Error::Option { name: "ciphers".into(), reason: "SHA-256 is not available".into() };
    let suite = rustls::crypto::aws_lc_rs::cipher_suite::TLS13_AES_128_GCM_SHA256;
    let hash = suite.tls13().ok_or_else(unavailable)?.common.hash_provider;
    let mut hasher = Sha256(hash.start());
    options.hash(&mut hasher);
    Key::try_from(hasher.0.finish().as_ref()).map_err(|_| unavailable())
}

/// Feeds what `Hash` writes, which is free of prefixes for derived types, into a digest.
struct Sha256(Box<dyn Context>);

impl Hasher for Sha256 {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest = self.0.fork_finish();
        digest.as_ref().iter().take(8).fold(0, |word, byte| (word << 8) | u64::from(*byte))
    }
}

/// A map of bounded size that forgets what was not used for longest.
struct Recent<T> {
    entries: HashMap<Key, (Arc<T>, u64)>,
    capacity: usize,
    uses: u64,
}

impl<T> Recent<T> {
    fn new(capacity: usize) -> Self {
        Self { entries: HashMap::new(), capacity, uses: 0 }
    }

    fn get(&mut self, key: &Key) -> Option<Arc<T>> {
        self.uses += 1;
        let (config, used) = self.entries.get_mut(key)?;
        *used = self.uses;
        Some(Arc::clone(config))
    }

    fn insert(&mut self, key: Key, config: Arc<T>) {
        self.uses += 1;
        self.entries.insert(key, (config, self.uses));
        if self.entries.len() > self.capacity
            && let Some(oldest) =
                self.entries.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| *key)
        {
            self.entries.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Identity, PrivateKey, Roots, Sni, TlsVersion};
    use super::*;

    #[test]
    fn equal_options_share_and_others_do_not() {
        let options = TlsOptions { alpn: vec![b"cache-test".to_vec()], ..TlsOptions::default() };
        let one = prepare(&options).unwrap();
        assert!(Arc::ptr_eq(&one, &prepare(&options.clone()).unwrap()));
        let other = TlsOptions { verify: false, ..options };
        assert!(!Arc::ptr_eq(&one, &prepare(&other).unwrap()));
    }

    #[test]
    fn every_field_counts() {
        let base = TlsOptions::default;
        let identity = |key| Identity { chain: vec![vec![1]], key };
        let variants = [
            base(),
            TlsOptions { verify: false, ..base() },
            TlsOptions { check_hostname: false, ..base() },
            TlsOptions { roots: Roots::System, ..base() },
            TlsOptions { roots: Roots::Der(vec![vec![1], vec![2]]), ..base() },
            TlsOptions { roots: Roots::Der(vec![vec![1, 2]]), ..base() },
            TlsOptions { depth: Some(0), ..base() },
            TlsOptions { identity: vec![identity(PrivateKey::Pkcs8(vec![1]))], ..base() },
            TlsOptions { identity: vec![identity(PrivateKey::Sec1(vec![1]))], ..base() },
            TlsOptions { versions: vec![TlsVersion::Tls13], ..base() },
            TlsOptions { cipher_suites: Some(vec![0x1301]), ..base() },
            TlsOptions { groups: Some(vec![0x001d]), ..base() },
            TlsOptions { signature_schemes: Some(vec![0x0403]), ..base() },
            TlsOptions { sni: Sni::Disabled, ..base() },
            TlsOptions { alpn: vec![b"h2".to_vec()], ..base() },
            TlsOptions { resumption: false, ..base() },
            TlsOptions { key_log: true, ..base() },
        ];
        let digests: std::collections::HashSet<Key> =
            variants.iter().map(|options| digest(options).unwrap()).collect();
        assert_eq!(digests.len(), variants.len());
    }

    #[test]
    fn the_longest_unused_goes_first() {
        let config = prepare(&TlsOptions::default()).unwrap();
        let mut recent = Recent::new(2);
        recent.insert([1; 32], Arc::clone(&config));
        recent.insert([2; 32], Arc::clone(&config));
        assert!(recent.get(&[1; 32]).is_some());
        recent.insert([3; 32], config);
        assert!(recent.get(&[2; 32]).is_none());
        assert!(recent.get(&[1; 32]).is_some());
        assert!(recent.get(&[3; 32]).is_some());
    }
}
