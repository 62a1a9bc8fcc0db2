//! Text made fit for people: errors with their causes, and what comes from elsewhere without what a terminal would act on.

pub(crate) use hardsign_plugin::text::{did_you_mean, io_text, meant, nearest, plural};

pub use hardsign_plugin::text::{WithCauses, escaped, escaped_but, is_dangerous};
