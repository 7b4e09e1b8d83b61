#![doc = include_str!("../README.md")]

pub use hallpass_core::*;

/// The embedded default store.
#[cfg(feature = "sqlite")]
pub mod sqlite {
    pub use hallpass_sqlite::*;
}

/// The tower layer, the axum extractors and the session manager page.
#[cfg(feature = "axum")]
pub mod axum {
    pub use hallpass_axum::*;
}
