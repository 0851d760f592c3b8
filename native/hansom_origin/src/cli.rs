//! The command line: `serve`, `script` and `certs`.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::time::Duration;

use rustls::version::{TLS12, TLS13};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::certs;
use crate::listener::{Config, Origin};
use crate::script::{Script, Server};
use crate::tls::{ClientAuth, EarlyData, Tls};

/// Largest window of HTTP/2 (RFC 9113, 6.9.1).
const MAX_WINDOW: u32 = (1 << 31) - 1;

const USAGE: &str = "\
usage:
  hansom_origin serve [--http ADDR]... [--https ADDR]... [--http3 ADDR]... [--unix PATH]... [TLS] [NET]
                      [--threads N] [--detached]
  hansom_origin script FILE [--listen ADDR] [--tls TLS] [--detached]
  hansom_origin certs DIR

ADDR is HOST:PORT; port 0 takes a free one. FILE `-` with --detached is standard input.
TLS is --certs DIR [--cert NAME] [--client-ca FILE required|optional] [--tls-versions 1.2,1.3] [--alpn NAME,...|none]
NET is [--delay-ms N] [--loss PERCENT] [--retry] [--early-data off|accept|reject] [--no-grease]
       [--stream-window BYTES] [--connection-window BYTES] [--max-streams N]

One line for each listener goes to standard output, then `ready`. The server stops when its standard input ends,
unless --detached.
";

/// Runs the program with these arguments (without its own name).
pub fn run(arguments: impl Iterator<Item = String>) -> ExitCode {
    match command(Arguments { rest: arguments.collect::<Vec<_>>().into_iter() }) {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(reason)) => {
            eprint!("hansom_origin: {reason}\n{USAGE}");
            ExitCode::from(2)
        }
        Err(Failure::Run(reason)) => {
            eprintln!("hansom_origin: {reason}");
            ExitCode::FAILURE
        }
    }
}

enum Failure {
    Usage(String),
    Run(String),
}

impl Failure {
    fn run(reason: impl fmt::Display) -> Self {
        Failure::Run(reason.to_string())
    }
}

struct Arguments {
    rest: std::vec::IntoIter<String>,
}

impl Arguments {
    fn next(&mut self) -> Option<String> {
        self.rest.next()
    }

    fn value(&mut self, option: &str) -> Result<String, Failure> {
        self.next().ok_or_else(|| Failure::Usage(format!("{option} needs a value")))
    }

    fn address(&mut self, option: &str) -> Result<SocketAddr, Failure> {
        let text = self.value(option)?;
        text.to_socket_addrs()
            .ok()
            .and_then(|mut addresses| addresses.next())
            .ok_or_else(|| Failure::Usage(format!("{option}: {text} is not HOST:PORT")))
    }

    fn number<T>(&mut self, option: &str, range: RangeInclusive<T>) -> Result<T, Failure>
    where
        T: FromStr + PartialOrd + fmt::Display,
    {
        let number = self.value(option)?.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| {
            Failure::Usage(format!("{option} is {} to {}", range.start(), range.end()))
        })
    }
}

fn command(mut arguments: Arguments) -> Result<(), Failure> {
    match arguments.next().as_deref() {
        Some("serve") => serve(arguments),
        Some("script") => script(arguments),
        Some("certs") => match (arguments.next(), arguments.next()) {
            (Some(folder), None) => certs::write(folder.as_ref()).map_err(Failure::run),
            _ => Err(Failure::Usage("certs takes one folder".into())),
        },
        Some("help" | "--help" | "-h") => {
            print(format_args!("{USAGE}"));
            Ok(())
        }
        Some(other) => Err(Failure::Usage(format!("no command {other}"))),
        None => Err(Failure::Usage("a command is missing".into())),
    }
}

fn serve(mut arguments: Arguments) -> Result<(), Failure> {
    let mut config = Config::default();
    let mut tls = TlsOptions::default();
    let mut threads = 1;
    let mut detached = false;
    while let Some(option) = arguments.next() {
        match option.as_str() {
            "--http" => config.http.push(arguments.address(&option)?),
            "--https" => config.https.push(arguments.address(&option)?),
            "--unix" => config.unix.push(arguments.value(&option)?.into()),
            "--http3" => config.http3.push(arguments.address(&option)?),
            "--threads" => threads = arguments.number(&option, 1..=1024)?,
            "--delay-ms" => {
                config.path.delay = Duration::from_millis(arguments.number(&option, 0..=60_000)?);
            }
            "--loss" => config.path.loss = arguments.number(&option, 0..=100)?,
            "--retry" => config.quic.retry = true,
            "--no-grease" => config.quic.no_grease = true,
            "--early-data" => {
                config.quic.early_data = match arguments.value(&option)?.as_str() {
                    "off" => EarlyData::Off,
                    "accept" => EarlyData::Accept,
                    "reject" => EarlyData::Reject,
                    other => {
                        return Err(Failure::Usage(format!(
                            "--early-data off|accept|reject, not {other}"
                        )));
                    }
                };
            }
            "--stream-window" => {
                config.limits.stream_window = arguments.number(&option, 0..=MAX_WINDOW)?;
            }
            "--connection-window" => {
                config.limits.connection_window = arguments.number(&option, 0..=MAX_WINDOW)?;
            }
            "--max-streams" => {
                config.limits.max_streams = arguments.number(&option, 0..=1 << 31)?
            }
            "--detached" => detached = true,
            _ => tls.read(&option, &mut arguments)?,
        }
    }
    let addresses = config.http.len() + config.https.len() + config.http3.len();
    if addresses + config.unix.len() == 0 {
        return Err(Failure::Usage("nothing to listen on".into()));
    }
    config.tls = tls.finish()?;
    runtime(threads)?.block_on(async {
        let origin = Origin::start(config).await.map_err(Failure::run)?;
        for address in origin.http() {
            print(format_args!("http {address}\n"));
        }
        for address in origin.https() {
            print(format_args!("https {address}\n"));
        }
        for address in origin.http3() {
            print(format_args!("http3 {address}\n"));
        }
        for path in origin.unix() {
            print(format_args!("unix {}\n", path.display()));
        }
        print(format_args!("ready\n"));
        stopped(detached).await;
        Ok(())
    })
}

fn script(mut arguments: Arguments) -> Result<(), Failure> {
    let mut file = None;
    let mut address = SocketAddr::from(([127, 0, 0, 1], 0));
    let mut with_tls = false;
    let mut tls = TlsOptions::default();
    let mut detached = false;
    while let Some(option) = arguments.next() {
        match option.as_str() {
            "--listen" => address = arguments.address(&option)?,
            "--tls" => with_tls = true,
            "--detached" => detached = true,
            _ if option.starts_with("--") => tls.read(&option, &mut arguments)?,
            _ if file.is_none() => file = Some(option),
            _ => return Err(Failure::Usage("one script at a time".into())),
        }
    }
    let file = file.ok_or_else(|| Failure::Usage("script takes a file".into()))?;
    let text = match file.as_str() {
        "-" if detached => io::read_to_string(io::stdin()),
        "-" => return Err(Failure::Usage("a script from standard input needs --detached".into())),
        _ => std::fs::read_to_string(&file),
    };
    let text = text.map_err(|reason| Failure::Run(format!("{file}: {reason}")))?;
    let script =
        Script::parse(&text).map_err(|reason| Failure::Run(format!("{file}: {reason}")))?;
    let tls = match (with_tls, tls.finish()?) {
        (true, None) => return Err(Failure::Usage("--tls needs --certs".into())),
        (false, Some(_)) => return Err(Failure::Usage("--certs without --tls".into())),
        (_, tls) => tls,
    };
    runtime(1)?.block_on(async {
        let server = Server::start(script, address, tls.as_ref()).await.map_err(Failure::run)?;
        print(format_args!("listening {}\nready\n", server.address()));
        let report = async {
            for index in 0.. {
                let played = server.played(index).await;
                print(format_args!(
                    "connection {index} {} \"{}\"\n",
                    played.outcome,
                    played.received.escape_ascii()
                ));
            }
        };
        tokio::select! {
            () = stopped(detached) => Ok(()),
            () = report => Ok(()),
        }
    })
}

type Change = Box<dyn FnOnce(&mut Tls)>;

#[derive(Default)]
struct TlsOptions {
    tls: Option<Tls>,
    // Applied at the end, so that the order of options does not matter.
    changes: Vec<Change>,
}

impl TlsOptions {
    fn read(&mut self, option: &str, arguments: &mut Arguments) -> Result<(), Failure> {
        let change: Change = match option {
            "--certs" => {
                self.tls = Some(Tls::new(arguments.value(option)?));
                return Ok(());
            }
            "--cert" => {
                let name = arguments.value(option)?;
                Box::new(move |tls| tls.name = name)
            }
            "--client-ca" => {
                let file = PathBuf::from(arguments.value(option)?);
                let auth = match arguments.value(option)?.as_str() {
                    "required" | "require" => ClientAuth::Required,
                    "optional" => ClientAuth::Optional,
                    other => {
                        return Err(Failure::Usage(format!(
                            "--client-ca FILE required|optional, not {other}"
                        )));
                    }
                };
                Box::new(move |tls| tls.client_ca = Some((file, auth)))
            }
            "--tls-versions" => {
                let versions = arguments
                    .value(option)?
                    .split(',')
                    .map(|version| match version {
                        "1.2" => Ok(&TLS12),
                        "1.3" => Ok(&TLS13),
                        _ => Err(Failure::Usage(format!("TLS {version} is not 1.2 or 1.3"))),
                    })
                    .collect::<Result<Vec<_>, _>>()?;
                Box::new(move |tls| tls.versions = versions)
            }
            "--alpn" => {
                let value = arguments.value(option)?;
                let names = match value.as_str() {
                    "none" => Vec::new(),
                    names => names.split(',').map(|name| name.as_bytes().to_vec()).collect(),
                };
                Box::new(move |tls| tls.alpn = names)
            }
            _ => return Err(Failure::Usage(format!("no option {option}"))),
        };
        self.changes.push(change);
        Ok(())
    }

    fn finish(self) -> Result<Option<Tls>, Failure> {
        let Some(mut tls) = self.tls else {
            return match self.changes.is_empty() {
                true => Ok(None),
                false => Err(Failure::Usage("TLS options need --certs".into())),
            };
        };
        for change in self.changes {
            change(&mut tls);
        }
        Ok(Some(tls))
    }
}

fn runtime(threads: usize) -> Result<Runtime, Failure> {
    let mut builder = match threads {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    builder.enable_all().build().map_err(Failure::run)
}

/// Returns when standard input ends; never when detached.
async fn stopped(detached: bool) {
    if detached {
        return std::future::pending().await;
    }
    let (sender, receiver) = oneshot::channel::<()>();
    // A thread of its own: tokio's stdin would hold up the end of the runtime.
    std::thread::spawn(move || {
        let mut sink = [0; 4096];
        let mut stdin = io::stdin().lock();
        loop {
            match stdin.read(&mut sink) {
                Ok(1..) => {}
                Err(reason) if reason.kind() == io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => break,
            }
        }
        drop(sender);
    });
    // Nothing is ever sent: the result is always the sender's drop.
    let _ = receiver.await;
}

/// Prints at once: the reader waits for the line. A reader that has gone does not stop the server.
fn print(text: fmt::Arguments<'_>) {
    let mut out = io::stdout().lock();
    let _ = out.write_fmt(text).and_then(|()| out.flush());
}
