//! What is in another process, as whoever runs the tests may look, from `/proc`.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::ops::Range;

/// All memory of a process that it can write, but for what `without` covers.
pub fn memory(process: u32, without: &Range<u64>) -> Vec<u8> {
    let maps = fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let mut file = File::open(format!("/proc/{process}/mem")).unwrap();
    let mut all = Vec::new();
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let (from, rest) = line.split_once('-').unwrap();
        let (to, _) = rest.split_once(' ').unwrap();
        let [from, to] = [from, to].map(|at| u64::from_str_radix(at, 16).unwrap());
        let parts = [from..to.min(without.start), from.max(without.end)..to];
        let whole = without.is_empty() || to <= without.start || from >= without.end;
        let parts = if whole { [from..to, to..to] } else { parts };
        for part in parts.into_iter().filter(|part| !part.is_empty()) {
            if part.end - part.start > 1 << 30 {
                continue;
            }
            let mut bytes = vec![0; usize::try_from(part.end - part.start).unwrap()];
            file.seek(SeekFrom::Start(part.start)).unwrap();
            // A guard page can't be read.
            if file.read_exact(&mut bytes).is_ok() {
                all.extend(bytes);
                // What ends in one part does not go on in the next.
                all.push(0);
            }
        }
    }
    all
}

/// Where the environment lies that a process was started with (`proc(5)`: `env_start`, `env_end`).
pub fn initial_environment(process: u32) -> Range<u64> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap();
    // After the name, which may have anything in it, comes the third field.
    let fields: Vec<&str> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    let field = |number: usize| fields[number - 3].parse::<u64>().unwrap();
    field(50)..field(51)
}

/// Whether bytes are in memory.
pub fn holds(memory: &[u8], needle: &[u8]) -> bool {
    memory.windows(needle.len()).any(|part| part == needle)
}
