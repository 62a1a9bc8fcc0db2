//! Signing an artifact or a file: draft, sign elsewhere, assemble, store.
//!
//! Under construction.
