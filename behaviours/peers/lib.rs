//! Benches beside other people's onion formats, in `benches/`: `cargo bench -p sotto-peers`.
