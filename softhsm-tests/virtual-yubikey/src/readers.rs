//! A stand-in for pcscd: speaks pcsc-lite's client protocol (4.x) on a Unix socket, so that
//! libpcsclite (`PCSCLITE_CSOCK_NAME=path`) reaches virtual cards. No daemon, no root.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Condvar, Mutex};

use crate::VirtualYubiKey;
use crate::card::ATR;

/// Readers of the protocol's table.
const MAX_READERS: usize = 16;
/// Bytes of a reader in the protocol's table.
const STATE: usize = 184;

const E_INVALID_HANDLE: u32 = 0x8010_0003;
const E_INSUFFICIENT_BUFFER: u32 = 0x8010_0008;
const E_UNKNOWN_READER: u32 = 0x8010_0009;
const E_SHARING_VIOLATION: u32 = 0x8010_000b;
const E_NO_SMARTCARD: u32 = 0x8010_000c;
const E_READER_UNAVAILABLE: u32 = 0x8010_0017;
const E_UNSUPPORTED: u32 = 0x8010_001f;
const T1: u32 = 2;
const SHARE_EXCLUSIVE: u32 = 1;

/// Readers on a socket. Clones share them; they are served until the process ends.
#[derive(Clone)]
pub struct Readers {
    slots: Arc<Mutex<Vec<Arc<Slot>>>>,
}

/// A card in its reader. Both come and go together, as a YubiKey does.
struct Slot {
    name: String,
    /// `None` once it was pulled out.
    card: Mutex<Option<VirtualYubiKey>>,
    sharing: Mutex<Sharing>,
    free: Condvar,
}

#[derive(Default)]
struct Sharing {
    /// The handle that has a transaction.
    owner: Option<i32>,
    /// The handle that has the card for itself.
    exclusive: Option<i32>,
    handles: usize,
}

impl Slot {
    /// Waits until no other handle has a transaction; takes one if `begin`.
    fn turn(&self, who: i32, begin: bool) {
        let mut sharing = self.sharing.lock().unwrap();
        while sharing.owner.is_some_and(|owner| owner != who) {
            sharing = self.free.wait(sharing).unwrap();
        }
        if begin {
            sharing.owner = Some(who);
        }
    }

    fn unlock(&self, who: i32) {
        let mut sharing = self.sharing.lock().unwrap();
        if sharing.owner == Some(who) {
            sharing.owner = None;
            self.free.notify_all();
        }
    }

    fn connect(&self, who: i32, exclusive: bool) -> u32 {
        if self.card.lock().unwrap().is_none() {
            return E_NO_SMARTCARD;
        }
        let mut sharing = self.sharing.lock().unwrap();
        if sharing.exclusive.is_some() || (exclusive && sharing.handles > 0) {
            return E_SHARING_VIOLATION;
        }
        if exclusive {
            sharing.exclusive = Some(who);
        }
        sharing.handles += 1;
        0
    }

    fn disconnect(&self, who: i32) {
        self.unlock(who);
        let mut sharing = self.sharing.lock().unwrap();
        sharing.handles = sharing.handles.saturating_sub(1);
        if sharing.exclusive == Some(who) {
            sharing.exclusive = None;
        }
    }
}

impl Readers {
    /// Serves on a socket at `path`, on threads of this process. There is no reader yet.
    pub fn serve(path: &Path) -> io::Result<Self> {
        drop(std::fs::remove_file(path));
        let listener = UnixListener::bind(path)?;
        let readers = Self {
            slots: Arc::default(),
        };
        let served = readers.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let readers = served.clone();
                std::thread::spawn(move || readers.client(stream));
            }
        });
        Ok(readers)
    }

    /// Plugs a card in, under a reader's name of its own.
    pub fn insert(&self, name: &str, card: VirtualYubiKey) {
        let slot = Slot {
            name: name.to_owned(),
            card: Mutex::new(Some(card)),
            sharing: Mutex::default(),
            free: Condvar::new(),
        };
        let mut slots = self.slots.lock().unwrap();
        slots.retain(|slot| slot.name != name);
        slots.push(Arc::new(slot));
    }

    /// Pulls a card out; waits until it has answered the command that it works on.
    pub fn remove(&self, name: &str) -> Option<VirtualYubiKey> {
        let slot = self.slot(name)?;
        let card = slot.card.lock().unwrap().take();
        self.slots.lock().unwrap().retain(|slot| slot.name != name);
        let mut card = card?;
        card.reset_card();
        Some(card)
    }

    /// Looks at a card, or changes it, between two commands.
    ///
    /// # Panics
    /// There is no such card.
    pub fn with<T>(&self, name: &str, act: impl FnOnce(&mut VirtualYubiKey) -> T) -> T {
        let slot = self.slot(name).unwrap();
        let mut card = slot.card.lock().unwrap();
        act(card.as_mut().unwrap())
    }

    fn slot(&self, name: &str) -> Option<Arc<Slot>> {
        let slots = self.slots.lock().unwrap();
        slots.iter().find(|slot| slot.name == name).cloned()
    }

    /// The table of readers.
    fn states(&self) -> Vec<u8> {
        let mut table = vec![0_u8; MAX_READERS * STATE];
        let slots = self.slots.lock().unwrap();
        for (slot, entry) in slots.iter().zip(table.chunks_mut(STATE)) {
            let length = slot.name.len().min(127);
            entry[..length].copy_from_slice(&slot.name.as_bytes()[..length]);
            // Present, powered, negotiable.
            entry[132..136].copy_from_slice(&0x34_u32.to_ne_bytes());
            entry[140..140 + ATR.len()].copy_from_slice(ATR);
            entry[176..180].copy_from_slice(&(ATR.len() as u32).to_ne_bytes());
            entry[180..184].copy_from_slice(&T1.to_ne_bytes());
        }
        table
    }

    fn client(&self, stream: UnixStream) {
        let mut client = Client {
            readers: self,
            stream,
            handles: HashMap::new(),
        };
        // A client that breaks the protocol is let go.
        drop(client.serve());
        for (handle, slot) in client.handles {
            slot.disconnect(handle);
        }
    }
}

/// A program that is connected.
struct Client<'a> {
    readers: &'a Readers,
    stream: UnixStream,
    handles: HashMap<i32, Arc<Slot>>,
}

static NEXT: AtomicI32 = AtomicI32::new(1);

fn next() -> i32 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

fn word(body: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes(body[at..at + 4].try_into().unwrap())
}

fn handle(body: &[u8]) -> i32 {
    word(body, 0).cast_signed()
}

fn set(mut body: Vec<u8>, at: usize, value: u32) -> Vec<u8> {
    body[at..at + 4].copy_from_slice(&value.to_ne_bytes());
    body
}

impl Client<'_> {
    fn serve(&mut self) -> io::Result<()> {
        loop {
            let mut header = [0; 8];
            if self.stream.read_exact(&mut header).is_err() {
                return Ok(());
            }
            let mut body = vec![0; word(&header, 0) as usize];
            self.stream.read_exact(&mut body)?;
            let Some(reply) = self.answer(word(&header, 4), body)? else {
                return Ok(());
            };
            self.stream.write_all(&reply)?;
        }
    }

    fn answer(&mut self, command: u32, body: Vec<u8>) -> io::Result<Option<Vec<u8>>> {
        Ok(Some(match command {
            0x11 => set(body, 8, 0),                                 // version
            0x01 => set(set(body, 4, next().cast_unsigned()), 8, 0), // establish context
            0x02 => set(body, 4, 0),                                 // release context
            0x04 => self.connect(body),
            0x05 => {
                // reconnect
                self.dispose(&body, 12);
                set(set(body, 16, T1), 20, 0)
            }
            0x06 => {
                // disconnect
                self.dispose(&body, 4);
                if let Some(slot) = self.handles.remove(&handle(&body)) {
                    slot.disconnect(handle(&body));
                }
                set(body, 8, 0)
            }
            0x07 => match self.handles.get(&handle(&body)) {
                // begin transaction
                Some(slot) => {
                    slot.turn(handle(&body), true);
                    set(body, 4, 0)
                }
                None => set(body, 4, E_INVALID_HANDLE),
            },
            0x08 => {
                // end transaction
                self.dispose(&body, 4);
                if let Some(slot) = self.handles.get(&handle(&body)) {
                    slot.unlock(handle(&body));
                }
                set(body, 8, 0)
            }
            0x09 => self.transmit(body)?,
            0x0a => {
                // control: no features
                let mut data = vec![0; word(&body, 8) as usize];
                self.stream.read_exact(&mut data)?;
                set(set(body, 16, 0), 20, E_UNSUPPORTED)
            }
            0x0b | 0x0d | 0x0e => set(body, 4, 0), // status, cancel
            0x0f if word(&body, 4) == 0x0009_0303 => {
                // SCARD_ATTR_ATR_STRING
                let mut body = body;
                body[8..8 + ATR.len()].copy_from_slice(ATR);
                set(set(body, 272, ATR.len() as u32), 276, 0)
            }
            0x0f | 0x10 => set(body, 276, E_UNSUPPORTED),
            0x12 | 0x13 => self.readers.states(), // reader states (and wait)
            0x14 => vec![0; 8],                   // stop waiting
            _ => return Ok(None),
        }))
    }

    /// Body: context, name[128], share mode, protocols, handle, active protocol, result.
    fn connect(&mut self, body: Vec<u8>) -> Vec<u8> {
        let name = String::from_utf8_lossy(&body[4..132]);
        let Some(slot) = self.readers.slot(name.trim_end_matches('\0')) else {
            return set(body, 148, E_UNKNOWN_READER);
        };
        let handle = next();
        let result = slot.connect(handle, word(&body, 132) == SHARE_EXCLUSIVE);
        if result == 0 {
            self.handles.insert(handle, slot);
        }
        set(
            set(set(body, 140, handle.cast_unsigned()), 144, T1),
            148,
            result,
        )
    }

    /// Disposition of disconnect, end transaction, reconnect: anything but "leave" resets the card.
    fn dispose(&self, body: &[u8], at: usize) {
        if word(body, at) != 0
            && let Some(slot) = self.handles.get(&handle(body))
            && let Some(card) = slot.card.lock().unwrap().as_mut()
        {
            card.reset_card();
        }
    }

    /// Body: handle, protocol, length, send length, protocol, length, receive length, result; the
    /// command follows.
    fn transmit(&mut self, body: Vec<u8>) -> io::Result<Vec<u8>> {
        let mut apdu = vec![0; word(&body, 12) as usize];
        self.stream.read_exact(&mut apdu)?;
        let Some(slot) = self.handles.get(&handle(&body)) else {
            return Ok(set(body, 28, E_INVALID_HANDLE));
        };
        slot.turn(handle(&body), false);
        let answer = slot
            .card
            .lock()
            .unwrap()
            .as_mut()
            .map(|card| card.transmit(&apdu));
        Ok(match answer {
            None => set(body, 28, E_READER_UNAVAILABLE),
            Some(answer) if answer.len() > word(&body, 24) as usize => {
                set(body, 28, E_INSUFFICIENT_BUFFER)
            }
            Some(answer) => {
                let body = set(set(body, 16, T1), 24, answer.len() as u32);
                [set(body, 28, 0), answer].concat()
            }
        })
    }
}
