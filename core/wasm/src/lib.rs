//! Verifies a file and its signature where there is nothing but memory: in a browser, as WebAssembly.
//!
//! Whoever loads the module fills the inputs ([`hardsign_input`]), has them judged at a time ([`hardsign_verify`]), and reads the answer,
//! JSON in UTF-8 ([`hardsign_output`]). Nothing is imported: no clock, no random numbers, no network.

#![allow(
    unsafe_code,
    reason = "functions that are exported have names of their own"
)]

mod verdict;

use std::cell::RefCell;

pub use verdict::{Inputs, verdict};

thread_local! {
    static INPUTS: RefCell<[Vec<u8>; 4]> = const { RefCell::new([const { Vec::new() }; 4]) };
    static OUTPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Makes room for an input of that length, and says where: 0 the file, 1 its signature, 2 certificates to trust, 3 a trust
/// policy. What is never given is empty. No address for any other number.
#[unsafe(no_mangle)]
pub extern "C" fn hardsign_input(number: usize, length: usize) -> *mut u8 {
    INPUTS.with_borrow_mut(|inputs| match inputs.get_mut(number) {
        Some(input) => {
            *input = vec![0; length];
            input.as_mut_ptr()
        }
        None => std::ptr::null_mut(),
    })
}

/// Judges the inputs at a time, in seconds since 1970, and returns the length of the answer.
#[unsafe(no_mangle)]
pub extern "C" fn hardsign_verify(seconds: f64) -> usize {
    let answer = INPUTS.with_borrow(|[file, signature, certificates, policy]| {
        let inputs = Inputs {
            file,
            signature,
            certificates,
            policy,
        };
        verdict(&inputs, seconds).to_string().into_bytes()
    });
    OUTPUT.with_borrow_mut(|output| {
        *output = answer;
        output.len()
    })
}

/// Where the answer is.
#[unsafe(no_mangle)]
pub extern "C" fn hardsign_output() -> *const u8 {
    OUTPUT.with_borrow(|output| output.as_ptr())
}
