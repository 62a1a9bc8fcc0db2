//! Reading a file beside the tasks of a runtime.

use std::io::{self, Read};
use std::sync::{Arc, Weak};

use crate::budget::{self, Party};

/// Reads a file, whose name is for the account of the time, on a thread that may block, and does
/// something with it there. When nobody waits for that any more, it ends with the piece that it is
/// at.
///
/// # Errors
/// Those of `work`, to which the end of the reading is one.
pub async fn read_apart<F, T>(
    reader: F,
    name: &str,
    work: impl FnOnce(&mut dyn Read) -> io::Result<T> + Send + 'static,
) -> io::Result<T>
where
    F: Read + Send + 'static,
    T: Send + 'static,
{
    let wanted = Arc::new(());
    let waiting = budget::waiting(|| Party::File(name.to_owned()));
    let mut reader = WhileWanted {
        reader,
        wanted: Arc::downgrade(&wanted),
    };
    let read = budget::apart(move || work(&mut reader)).await;
    drop((wanted, waiting));
    read
}

/// A file that ends with an error once nobody wants it.
struct WhileWanted<F> {
    reader: F,
    wanted: Weak<()>,
}

impl<F: Read> Read for WhileWanted<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.wanted.strong_count() == 0 {
            return Err(io::Error::other("reading was stopped"));
        }
        self.reader.read(buffer)
    }
}
