//! How the program is linked: fifty of them run on one laptop, so what each maps into memory counts.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let target = |what: &str| std::env::var(format!("CARGO_CFG_TARGET_{what}")).unwrap_or_default();
    // The linker of this target is LLD, and its C library knows how: the addresses that the loader has to correct are
    // written down as a bitmap instead of 24 bytes each, which is a whole MiB less to read at start.
    if target("OS") == "linux" && target("ENV") == "gnu" && target("ARCH") == "x86_64" {
        println!("cargo:rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}
