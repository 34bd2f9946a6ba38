//! Benches beside another messenger's sessions, in `benches/`: `cargo bench -p sotto-client-peers`.
