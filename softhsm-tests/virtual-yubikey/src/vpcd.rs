//! The card's side of vsmartcard's vpcd, without the 40 ms that Nagle and delayed ACKs cost.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use crate::VirtualYubiKey;
use crate::card::ATR;

/// Where vpcd listens unless it is told otherwise.
pub const PORT: u16 = 35963;

/// Connects; waits up to ten seconds for vpcd to listen.
pub fn connect(port: u16) -> io::Result<TcpStream> {
    let mut tries = 0;
    loop {
        match TcpStream::connect((Ipv4Addr::LOCALHOST, port)) {
            Err(_) if tries < 100 => std::thread::sleep(Duration::from_millis(100)),
            result => return result,
        }
        tries += 1;
    }
}

/// Serves a card until vpcd goes.
pub fn run(mut stream: TcpStream, card: &mut VirtualYubiKey) -> io::Result<()> {
    stream.set_nodelay(true)?;
    loop {
        let message = receive(&mut stream)?;
        let answer = match message[..] {
            [0..=2] => {
                card.reset_card();
                continue;
            }
            [4] => ATR.to_vec(),
            _ => card.transmit(&message),
        };
        let length = (answer.len() as u16).to_be_bytes();
        stream.write_all(&[&length[..], &answer].concat())?;
    }
}

fn receive(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    // vpcd writes the length and the message apart, with Nagle on: acknowledge at once.
    rustix::net::sockopt::set_tcp_quickack(&*stream, true)?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    rustix::net::sockopt::set_tcp_quickack(&*stream, true)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message)?;
    Ok(message)
}
