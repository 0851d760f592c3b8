//! The connections of this node, found by the pid of the process each belongs to.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::panic::RefUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use hansom_engine::{Config, Connection, HttpProtocol, State};
use rustler::sys::ErlNifTerm;
use rustler::{Encoder, Env, LocalPid, Monitor, Resource, ResourceArc, Term};
use tokio::runtime::Handle;

use crate::encode;
use crate::notify::{Beam, Fate, Receiver, TaskSink};
use crate::reaper::{self, Job};

/// A connection and what it takes to speak for it.
#[derive(Clone)]
pub(crate) struct ConnHandle {
    /// The engine's handle.
    pub(crate) connection: Connection<Beam>,
    /// The process it belongs to.
    pub(crate) pid: LocalPid,
    /// How that process ended.
    pub(crate) fate: Arc<Fate>,
}

/// A connection as a resource: what monitors its process and its users.
///
/// The registry holds it from [`open`] until [`close`] or until its process is dead, so its
/// destructor has nothing left to do but free memory.
pub(crate) struct ConnResource {
    pub(crate) handle: ConnHandle,
    key: PidKey,
    process_monitor: Mutex<Option<Monitor>>,
    /// The living processes whose death matters or once did. Each is monitored once and until it
    /// dies: most come again, and to the engine the death of one it has nothing for is nothing.
    users: Mutex<HashSet<PidKey, PidHasher>>,
}

/// The resource is only looked at under its locks, and a poisoned lock is no reason to stop.
impl RefUnwindSafe for ConnResource {}

#[rustler::resource_impl]
impl Resource for ConnResource {
    fn down<'a>(&'a self, env: Env<'a>, pid: LocalPid, _monitor: Monitor) {
        let key = PidKey::of(pid, env);
        if key == self.key {
            drop(registry::remove(self.key));
            // Its process was killed, and with it the way to other nodes.
            let handle = self.handle.clone();
            reaper::push(Job::ShutDown { handle, caller: None, tell: false });
        } else {
            lock(&self.users).remove(&key);
            reaper::push(Job::UserGone(self.handle.clone(), Receiver::Local(pid)));
        }
    }
}

impl ConnResource {
    /// Watches a receiver of this connection's messages: should it die, its transfer ends.
    pub(crate) fn watch(this: &ResourceArc<Self>, env: Env<'_>, user: &Receiver) {
        let Receiver::Local(pid) = user else {
            // A resource cannot monitor a process of another node; the connection's process can.
            let _ = env.send(&this.handle.pid, encode::watch(env, user));
            return;
        };
        let key = PidKey::of(*pid, env);
        let mut users = lock(&this.users);
        // One that is dead already is found out by the first message sent to it.
        if !users.contains(&key) && env.monitor(this, pid).is_some() {
            users.insert(key);
        }
    }

    /// Watches a process that sends a request, where that matters: on a connection of many
    /// streams, which has to be told whose are of no use any more.
    pub(crate) fn watch_sender(this: &ResourceArc<Self>, env: Env<'_>, user: &Receiver) {
        if this.handle.connection.protocol() != HttpProtocol::Http1 {
            Self::watch(this, env, user);
        }
    }
}

/// Makes the connection of the calling process. `false` if it has one already.
pub(crate) fn open(env: Env<'_>, config: Config, runtime: &Handle) -> bool {
    let pid = env.pid();
    let key = PidKey::of(pid, env);
    if registry::find(key).is_some() {
        return false;
    }
    let fate = Arc::new(Fate::default());
    let connection = Connection::spawn(config, Box::new(TaskSink::new(pid)), runtime);
    let resource = ResourceArc::new(ConnResource {
        handle: ConnHandle { connection, pid, fate },
        key,
        process_monitor: Mutex::new(None),
        users: Mutex::new(HashSet::default()),
    });
    // The process is running this function, so it is alive and can be monitored.
    *lock(&resource.process_monitor) = env.monitor(&resource, &pid);
    registry::insert(key, resource);
    true
}

/// Takes the connection of the calling process out of the registry, to be shut down.
pub(crate) fn close(env: Env<'_>, pid: Term<'_>) -> Option<ConnHandle> {
    let resource = registry::remove(PidKey::from_term(pid)?)?;
    // Only the calling process can be asked to forget a monitor in its own environment; the
    // other monitors end with the resource.
    if let Some(monitor) = lock(&resource.process_monitor).take() {
        env.demonitor(&resource, &monitor);
    }
    Some(resource.handle.clone())
}

/// The connection of this process.
pub(crate) fn find(pid: Term<'_>) -> Option<ResourceArc<ConnResource>> {
    registry::find(PidKey::from_term(pid)?)
}

/// The number of connections in each state.
pub(crate) fn count_states() -> Vec<(State, u64)> {
    let mut counts: Vec<(State, u64)> = Vec::new();
    registry::for_each(|resource| {
        let state = resource.handle.connection.state();
        match counts.iter_mut().find(|(counted, _)| *counted == state) {
            Some((_, count)) => *count += 1,
            None => counts.push((state, 1)),
        }
    });
    counts
}

/// A pid of this node as one machine word, which is what it is in the VM: `enif_make_pid` and
/// `enif_compare_pids` of `erl_nif.h` rest on that too.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct PidKey(ErlNifTerm);

impl PidKey {
    fn of(pid: LocalPid, env: Env<'_>) -> Self {
        Self(pid.encode(env).as_c_arg())
    }

    fn from_term(pid: Term<'_>) -> Option<Self> {
        pid.decode::<LocalPid>().ok().map(|_| Self(pid.as_c_arg()))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type PidHasher = BuildHasherDefault<PidHash>;

/// Pids of a node differ in a few low bits; a multiplication spreads them (Fibonacci hashing).
#[derive(Default)]
struct PidHash(u64);

impl Hasher for PidHash {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn finish(&self) -> u64 {
        // The table takes its index from the low bits, the product has its best ones on top.
        self.0.rotate_left(32)
    }
}

/// The map from pid to connection, in shards so that schedulers rarely meet at a lock.
mod registry {
    use super::*;

    const SHARDS: usize = 64;

    type Shard = RwLock<HashMap<PidKey, ResourceArc<ConnResource>, PidHasher>>;

    static MAP: [Shard; SHARDS] =
        [const { RwLock::new(HashMap::with_hasher(BuildHasherDefault::new())) }; SHARDS];

    pub(super) fn find(key: PidKey) -> Option<ResourceArc<ConnResource>> {
        let shard = shard(key).read().unwrap_or_else(PoisonError::into_inner);
        shard.get(&key).cloned()
    }

    pub(super) fn insert(key: PidKey, resource: ResourceArc<ConnResource>) {
        let replaced = write(shard(key)).insert(key, resource);
        // Whatever its destructor does, it does not do it under the lock.
        drop(replaced);
    }

    pub(super) fn remove(key: PidKey) -> Option<ResourceArc<ConnResource>> {
        write(shard(key)).remove(&key)
    }

    pub(super) fn for_each(mut see: impl FnMut(&ConnResource)) {
        for shard in &MAP {
            let shard = shard.read().unwrap_or_else(PoisonError::into_inner);
            shard.values().for_each(|resource| see(resource));
        }
    }

    fn shard(key: PidKey) -> &'static Shard {
        use std::hash::BuildHasher;
        // Other bits than the ones that choose the place within the shard.
        let index = (PidHasher::default().hash_one(key) >> 48) as usize % SHARDS;
        &MAP[index]
    }

    fn write(
        shard: &Shard,
    ) -> std::sync::RwLockWriteGuard<'_, HashMap<PidKey, ResourceArc<ConnResource>, PidHasher>>
    {
        shard.write().unwrap_or_else(PoisonError::into_inner)
    }
}
