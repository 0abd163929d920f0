#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod refusal;
// Its users, the layers, are not here yet.
#[cfg_attr(not(test), allow(dead_code, unused_imports))]
pub mod replay;
