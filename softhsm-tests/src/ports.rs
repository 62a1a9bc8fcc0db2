//! Ports for servers that must be told theirs.

use std::net::{Ipv4Addr, TcpListener};
use std::process;
use std::sync::atomic::{AtomicU32, Ordering};

/// Below those that the system hands out itself (on Linux from 32768): else a connection of anybody could take a port
/// before its server does.
const FIRST: u16 = 12_000;
const COUNT: u32 = 20_000;
/// What lies between two that are given: some servers take the port after theirs as well.
const APART: u16 = 4;

/// A port of the loopback interface that nothing listens on, and that nobody else in this process is given.
pub fn free_port() -> u16 {
    free_ports(1)
}

/// The first of so many free ports in a row.
pub fn free_ports(count: u16) -> u16 {
    static GIVEN: AtomicU32 = AtomicU32::new(0);
    // Processes side by side begin elsewhere.
    let begin = process::id().wrapping_mul(61);
    for _ in 0..COUNT {
        let given = GIVEN.fetch_add(u32::from(count + APART), Ordering::Relaxed);
        let offset = begin.wrapping_add(given) % COUNT;
        let first = FIRST + u16::try_from(offset).unwrap();
        let mut all = first..first + count;
        if all.all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()) {
            return first;
        }
    }
    panic!("no port is free");
}
