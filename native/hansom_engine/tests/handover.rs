//! Commands of several threads at once, each carried out by the thread that submits it or handed
//! over to the connection's task: none is lost, done twice or overtaken, and every caller hears
//! something, also when the connection or its runtime ends in between.

#[path = "support/host.rs"]
mod host;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Barrier, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use hansom_engine::{
    Answer, AsyncMode, BodyBuffer, Command, Config, Connection, Content, Gone, HeaderList, Message,
    Notice, RequestOptions, Sink,
};
use host::{
    Caller, Client, PATIENCE, Pending, Receiver, TestHost, TestSink, describe, head, request, send,
    told, within,
};
use tokio::io::AsyncReadExt;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

const THREADS: u8 = 4;

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn asked(
    connection: &Connection<TestHost>,
    sink: &TestSink,
    id: u64,
    command: impl FnOnce(Caller) -> Command<TestHost>,
) -> Pending {
    let (reply, pending) = oneshot::channel();
    connection.submit(command(Caller { id, process: id, reply: Some(reply) }), &mut sink.clone());
    pending
}

/// What a caller hears, `None` if it is dropped.
fn heard(pending: Pending) -> Option<Answer<TestHost>> {
    let waiting = Builder::new_current_thread().enable_time().build().unwrap();
    waiting.block_on(within(pending)).ok()
}

/// Each thread sends its bytes 0, 1, 2... without waiting and waits at the end, now and then.
#[test]
fn commands_of_a_thread_stay_in_order_and_none_is_lost() {
    const ROUNDS: usize = 40;
    const BURST: usize = 50;
    let runtime = runtime();
    let (client, mut peer) = runtime.block_on(Client::connected(Config::default()));
    let (connection, sink) = (&client.connection, client.sink.clone());
    let reading = runtime.spawn(async move {
        let mut received = vec![Vec::new(); THREADS.into()];
        for _ in 0..usize::from(THREADS) * ROUNDS * BURST {
            let thread = within(peer.read_u8()).await.unwrap();
            received[usize::from(thread)].push(within(peer.read_u8()).await.unwrap());
        }
        received
    });
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let sink = sink.clone();
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let burst = (0..BURST).map(|n| {
                        let number = (round * BURST + n) as u8;
                        let data = Content::Bytes(vec![thread, number]);
                        let id = u64::from(thread);
                        asked(connection, &sink, id, |caller| Command::Send { caller, data })
                    });
                    for pending in burst.collect::<Vec<_>>() {
                        let answer = heard(pending).expect("the caller was dropped");
                        assert!(matches!(answer, Answer::Ok), "{}", describe(&answer));
                    }
                }
            });
        }
    });
    let expected: Vec<u8> = (0..ROUNDS * BURST).map(|number| number as u8).collect();
    for received in runtime.block_on(within(reading)).unwrap() {
        assert_eq!(received, expected);
    }
}

/// Threads ask while `end` ends the connection; each hears something of all it asks, up to the
/// first sign of the end.
fn ends_while_asked(end: impl Fn(Client, Runtime)) {
    for round in 0..100 {
        let runtime = runtime();
        let (client, _peer) = runtime.block_on(Client::connected(Config::default()));
        let (connection, sink) = (&client.connection.clone(), client.sink.clone());
        let together = &Barrier::new(usize::from(THREADS) + 1);
        thread::scope(|scope| {
            for thread in 0..THREADS {
                let sink = sink.clone();
                scope.spawn(move || {
                    together.wait();
                    for _ in 0..1_000_000 {
                        let id = u64::from(thread);
                        let pending = asked(connection, &sink, id, |caller| match thread {
                            0 => Command::Reuse { caller },
                            1 => Command::Probe { caller, checkout: false },
                            2 => Command::Recv { caller, length: 1, timeout: None },
                            _ => Command::Body { caller },
                        });
                        match heard(pending) {
                            Some(Answer::Reuse { ready: true, .. } | Answer::Ok) => {}
                            Some(Answer::Error(_)) if thread == 3 => {}
                            // The end, or closed before it.
                            _ => break,
                        }
                    }
                });
            }
            together.wait();
            // Somewhere in what the others do.
            thread::sleep(Duration::from_micros(round * 37 % 1000));
            end(client, runtime);
        });
    }
}

/// Keeps the connection's lock until it is told to go on.
struct Slow {
    entered: mpsc::Sender<()>,
    go_on: mpsc::Receiver<()>,
    used: bool,
}

impl Sink<TestHost> for Slow {
    fn reply(&mut self, _: Caller, _: Answer<TestHost>) {
        self.used = true;
        self.entered.send(()).unwrap();
        self.go_on.recv_timeout(PATIENCE).unwrap();
    }
    fn inform(&mut self, _: &Caller, _: u16, _: &[u8], _: &HeaderList) {}
    fn send(&mut self, _: &Receiver, _: Message<TestHost>) -> Result<(), Gone> {
        Ok(())
    }
    fn notify(&mut self, _: Notice<TestHost>) {}
}

/// As if each had found the lock free.
#[test]
fn queued_commands_do_what_they_do_one_by_one() {
    const RESPONSE: &[u8] =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n";
    let runtime = runtime();
    let (client, mut peer) = runtime.block_on(Client::connected(Config::default()));
    let (connection, sink) = (&client.connection, &client.sink);
    let (messages, mut inbox) = tokio::sync::mpsc::unbounded_channel();
    let accepted = asked(connection, sink, 1, |caller| Command::RequestAsync {
        caller,
        request: request("GET", Content::Empty),
        options: RequestOptions::default(),
        receiver: Receiver { id: 1, messages },
        receiver_owns: false,
        mode: AsyncMode::Once,
        follow_redirect: false,
    });
    let mut next = || runtime.block_on(within(inbox.recv())).map(|message| told(&message));
    assert!(matches!(heard(accepted), Some(Answer::Ok)));
    runtime.block_on(async {
        head(&mut peer).await;
        send(&mut peer, RESPONSE).await;
    });
    assert_eq!(next().as_deref(), Some("status 200"));
    assert_eq!(next().as_deref(), Some("headers"));
    let (entered, is_entered) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut slow = Slow { entered, go_on: may_go_on, used: false };
            // The task may have the lock still; then the command is left to it.
            while !slow.used {
                let caller = Caller { id: 2, process: 2, reply: None };
                connection.submit(Command::Protocol { caller }, &mut slow);
            }
        });
        is_entered.recv_timeout(PATIENCE).unwrap();
        connection.submit(Command::StreamNext { receiver: None }, &mut sink.clone());
        let stopped = asked(connection, sink, 1, |caller| Command::StopAsync { caller });
        let rest = asked(connection, sink, 1, |caller| Command::Body { caller });
        go_on.send(()).unwrap();
        assert!(matches!(heard(stopped), Some(Answer::Ok)));
        assert_eq!(next().as_deref(), Some("one"));
        let rest = heard(rest).expect("the caller was dropped");
        assert!(matches!(&rest, Answer::Data(body) if body.as_slice() == b"two"));
    });
    assert_eq!(next(), None);
}

/// Ends a runtime, which nothing keeps from ending.
fn stop(runtime: Runtime) {
    let started = Instant::now();
    runtime.shutdown_timeout(PATIENCE);
    assert!(started.elapsed() < PATIENCE, "the runtime does not end");
}

#[test]
fn every_caller_hears_of_a_connection_that_is_shut_down() {
    ends_while_asked(|client, runtime| {
        client.shut_down();
        stop(runtime);
    });
}

#[test]
fn every_caller_hears_of_the_end_of_the_runtime() {
    ends_while_asked(|_client, runtime| stop(runtime));
}

/// Panics as soon as it has something to say.
struct Broken;

impl Sink<TestHost> for Broken {
    fn reply(&mut self, _: Caller, _: Answer<TestHost>) {
        panic!("no reply");
    }
    fn inform(&mut self, _: &Caller, _: u16, _: &[u8], _: &HeaderList) {}
    fn send(&mut self, _: &Receiver, _: Message<TestHost>) -> Result<(), Gone> {
        Ok(())
    }
    fn notify(&mut self, _: Notice<TestHost>) {}
}

#[test]
fn every_caller_hears_of_a_command_that_panics() {
    let runtime = runtime();
    for _ in 0..10 {
        let (client, _peer) = runtime.block_on(Client::connected(Config::default()));
        let (connection, sink) = (&client.connection, &client.sink);
        let waiting =
            asked(connection, sink, 1, |caller| Command::Recv { caller, length: 1, timeout: None });
        let started = Instant::now();
        // The task may have the lock; then it carries the command out, with its own sink.
        let panics = || {
            // Until then it has nothing more to do, so that nothing but the panic wakes it.
            for _ in 0..100 {
                assert!(
                    heard(asked(connection, sink, 2, |caller| Command::Reuse { caller })).is_some()
                );
            }
            let caller = Caller { id: 2, process: 2, reply: None };
            let submit = || connection.submit(Command::Reuse { caller }, &mut Broken);
            catch_unwind(AssertUnwindSafe(submit)).is_err()
        };
        while !panics() {
            assert!(started.elapsed() < PATIENCE, "the lock is never free");
        }
        assert!(heard(waiting).is_none());
        assert!(matches!(client.notices.recv_timeout(PATIENCE), Ok(Notice::Finished)));
    }
}
