//! Verification from policy to verdict, with signatures made here that keep or break any rule.

#![allow(clippy::unwrap_used, reason = "a panic is how a test helper fails")]

mod attached;
mod attributes;
mod blobs;
mod hardware;
mod judged;
mod levels;
mod names;
mod policies;
#[path = "../provider/mod.rs"]
mod provider;
mod schemas;
mod several;
mod signers;
mod swaps;
mod times;
mod timestamps;
mod untrusted;
mod world;
