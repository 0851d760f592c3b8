//! The program as it is run: options, what it prints, and how it stops.

mod client;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;

use client::{exchange, get, soon};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::{TcpStream, UnixStream};
use tokio::process::{Child, ChildStdout, Command};

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hansom_origin"));
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    command
}

/// Starts the program, and reads its listeners up to the line `ready`.
async fn start(
    arguments: &[&str],
) -> (Child, HashMap<String, String>, Lines<BufReader<ChildStdout>>) {
    let mut child = command(arguments).spawn().expect("a process");
    let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines();
    let mut listeners = HashMap::new();
    loop {
        let line = soon(lines.next_line()).await.expect("output").expect("the line `ready`");
        match line.split_once(' ') {
            Some((kind, address)) => listeners.insert(kind.to_owned(), address.to_owned()),
            None => {
                assert_eq!(line, "ready");
                return (child, listeners, lines);
            }
        };
    }
}

fn address(listeners: &HashMap<String, String>, kind: &str) -> SocketAddr {
    listeners[kind].parse().expect("an address")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

#[tokio::test]
async fn serves_until_its_input_ends() {
    let folder = tempfile::tempdir().expect("a folder");
    let certs = folder.path().join("certs");
    let unix = folder.path().join("socket");
    let status = soon(command(&["certs", text(&certs)]).status()).await.expect("a process");
    assert!(status.success());
    // Left behind by a server that was killed.
    drop(std::os::unix::net::UnixListener::bind(&unix).expect("a stale socket"));

    let any = "127.0.0.1:0";
    let (mut child, listeners, _) = start(&[
        "serve",
        "--http",
        any,
        "--https",
        any,
        "--http3",
        any,
        "--unix",
        text(&unix),
        "--delay-ms",
        "2",
        "--loss",
        "1",
        "--retry",
        "--no-grease",
        "--early-data",
        "accept",
        "--stream-window",
        "100000",
        "--connection-window",
        "200000",
        "--max-streams",
        "7",
        "--cert",
        "wrong-name",
        "--certs",
        text(&certs),
        "--tls-versions",
        "1.3",
        "--threads",
        "2",
    ])
    .await;
    assert_eq!(get(address(&listeners, "http"), "/hello").await.status(), "200");
    assert_ne!(address(&listeners, "https").port(), 0);
    let alternative = format!("h3=\":{}\"; ma=60", address(&listeners, "http3").port());
    let response = get(address(&listeners, "http"), "/alt-svc").await;
    assert_eq!(response.field("alt-svc"), Some(alternative.as_str()));
    let socket = soon(UnixStream::connect(&listeners["unix"])).await.expect("a connection");
    let shown = exchange(socket, "GET", "/connection", "", b"").await.text();
    assert!(shown.contains("peer: unix\n"));

    let mut stdin = child.stdin.take().expect("its input");
    soon(stdin.write_all(b"of no interest\n")).await.expect("some input");
    soon(stdin.flush()).await.expect("some input");
    assert_eq!(get(address(&listeners, "http"), "/hello").await.status(), "200");
    drop(stdin);
    assert!(soon(child.wait()).await.expect("an end").success());
    assert!(!unix.exists());
}

#[tokio::test]
async fn detached_it_does_not_look_at_its_input() {
    let (mut child, listeners, _) = start(&["serve", "--http", "127.0.0.1:0", "--detached"]).await;
    drop(child.stdin.take());
    assert_eq!(get(address(&listeners, "http"), "/hello").await.status(), "200");
    assert!(child.try_wait().expect("a state").is_none());
    soon(child.kill()).await.expect("an end");
}

#[tokio::test]
async fn plays_scripts_and_reports() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("script");
    std::fs::write(&file, "expect 3\nsend \"\\x01\\r\\n\"\n").expect("a file");
    let (mut child, listeners, mut lines) = start(&["script", text(&file)]).await;
    let mut socket = soon(TcpStream::connect(address(&listeners, "listening"))).await.expect("it");
    soon(socket.write_all(b"a\"\r")).await.expect("sent bytes");
    let mut answer = Vec::new();
    soon(socket.read_to_end(&mut answer)).await.expect("an answer");
    assert_eq!(answer, b"\x01\r\n");
    drop(socket);
    let report = soon(lines.next_line()).await.expect("output").expect("a report");
    assert_eq!(report, "connection 0 finished \"a\\\"\\r\"");
    drop(child.stdin.take());
    assert!(soon(child.wait()).await.expect("an end").success());
}

#[tokio::test]
async fn refuses_what_it_does_not_know() {
    let any = "127.0.0.1:0";
    for arguments in [
        &[][..],
        &["dance"],
        &["certs"],
        &["serve"],
        &["serve", "--http"],
        &["serve", "--http", "nowhere"],
        &["serve", "--http", any, "--fast"],
        &["serve", "--http", any, "--threads", "0"],
        &["serve", "--http", any, "--cert", "server"],
        &["serve", "--http", any, "--loss", "101"],
        &["serve", "--http", any, "--delay-ms", "soon"],
        &["serve", "--http", any, "--early-data", "maybe"],
        &["serve", "--http", any, "--stream-window", "2147483648"],
        &["serve", "--http", any, "--certs", "x", "--tls-versions", "1.1"],
        &["serve", "--http", any, "--certs", "x", "--client-ca", "y", "maybe"],
        &["script"],
        &["script", "-"],
    ] {
        let output = soon(command(arguments).output()).await.expect("a process");
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("usage:"), "{arguments:?}");
    }
    for arguments in [
        &["serve", "--https", any][..],
        &["serve", "--http3", any],
        &["serve", "--https", any, "--certs", "/nonexistent"],
        &["serve", "--http", "192.0.2.1:1"],
        &["serve", "--unix", "/nonexistent/socket"],
        &["certs", "/dev/null/certs"],
        &["script", "/nonexistent/script"],
    ] {
        let output = soon(command(arguments).output()).await.expect("a process");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
}
