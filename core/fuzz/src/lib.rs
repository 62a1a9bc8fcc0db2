//! What several fuzz targets share: mutations that keep a signature valid, and the verdict of the
//! reference's library on the same bytes.

mod compare;
mod mutate;

pub use compare::{Kind, compare};
pub use mutate::{cose, jws};
