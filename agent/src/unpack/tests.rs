use std::fs;
use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{EntryType, Header};

use super::*;

/// An archive whose headers say whatever the test wants.
#[derive(Default)]
struct Tar(Vec<u8>);

impl Tar {
    fn entry(mut self, name: &str, kind: EntryType, link: &str, content: &[u8], mode: u32) -> Self {
        let mut header = Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(mode);
        let own = rustix::process::geteuid().as_raw();
        header.set_uid(own.into());
        header.set_gid(rustix::process::getegid().as_raw().into());
        header.set_mtime(1_000_000);
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
        self.0.extend_from_slice(content);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn file(self, name: &str, content: &str) -> Self {
        self.entry(name, EntryType::Regular, "", content.as_bytes(), 0o644)
    }

    fn folder(self, name: &str) -> Self {
        self.entry(name, EntryType::Directory, "", b"", 0o755)
    }

    fn symlink(self, name: &str, target: &str) -> Self {
        self.entry(name, EntryType::Symlink, target, b"", 0o777)
    }

    fn hard_link(self, name: &str, target: &str) -> Self {
        self.entry(name, EntryType::Link, target, b"", 0o644)
    }
}

const BOUNDS: Bounds = Bounds { bytes: 1 << 20, entries: 100 };

fn unpack_as(kind: Kind, bytes: &[u8], to: &Path) -> Result<Unpacked, UnpackError> {
    unpack(bytes, &root(to).expect("it exists"), kind, BOUNDS, &AtomicBool::new(false))
}

/// A folder with `below/` to unpack into, and a file beside that nothing may change.
struct Place(tempfile::TempDir);

impl Place {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(folder.path().join("below")).expect("it can be made");
        fs::write(folder.path().join("outside"), "safe").expect("it can be written");
        Self(folder)
    }

    fn below(&self) -> std::path::PathBuf {
        self.0.path().join("below")
    }

    #[expect(clippy::needless_pass_by_value, reason = "archives are made where they are used")]
    fn unpack(&self, tar: Tar) -> Result<Unpacked, UnpackError> {
        unpack_as(Kind::Sandbox { owner: None }, &tar.0, &self.below())
    }

    #[track_caller]
    fn refuses(&self, tar: Tar, why: &str) {
        let error = self.unpack(tar).expect_err("it is hostile");
        assert!(error.to_string().contains(why), "{error}");
        assert!(error.is_archives_fault(), "{error}");
        assert_eq!(fs::read_to_string(self.0.path().join("outside")).expect("it is there"), "safe");
        assert_eq!(fs::read_dir(self.0.path()).expect("it is there").count(), 2, "nothing came beside the folder");
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("it goes to memory");
    encoder.finish().expect("it goes to memory")
}

#[test]
fn an_archive_is_unpacked_with_its_modes_links_and_times() {
    let place = Place::new();
    let tar = Tar::default()
        .folder("./")
        .folder("a/")
        .entry("a/run", EntryType::Regular, "", b"#!/bin/sh\n", 0o4755)
        .file("deep/er/file", "content")
        .symlink("a/link", "../deep/er/file")
        .hard_link("again", "deep/er/file");
    let done = place.unpack(tar).expect("it is good");
    assert_eq!((done.entries, done.bytes), (6, 17));
    let below = place.below();
    let run = fs::metadata(below.join("a/run")).expect("it is there");
    assert_eq!(run.permissions().mode() & 0o7777, 0o755, "no set-user-id bit comes out of an archive");
    assert_eq!(run.mtime(), 1_000_000);
    assert_eq!(fs::read_to_string(below.join("a/link")).expect("it leads to the file"), "content");
    let ino = |name: &str| fs::metadata(below.join(name)).expect("it is there").ino();
    assert_eq!(ino("again"), ino("deep/er/file"));
}

#[test]
fn a_compressed_archive_is_unpacked_and_one_unpacked_twice_replaces_its_files() {
    let place = Place::new();
    let bytes = gzip(&Tar::default().file("a", "one").symlink("b", "a").0);
    for _ in 0..2 {
        unpack_as(Kind::Sandbox { owner: None }, &bytes, &place.below()).expect("it is good");
    }
    assert_eq!(fs::read_to_string(place.below().join("b")).expect("it is there"), "one");
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    for name in ["../outside", "a/../../outside", "/outside", "a/b/../../../outside", ".."] {
        Place::new().refuses(Tar::default().file(name, "evil"), "stays in the archive's own folder");
    }
}

#[test]
fn links_that_lead_elsewhere_are_refused() {
    for target in ["/etc/passwd", "../outside", "a/../../outside", ""] {
        Place::new().refuses(Tar::default().symlink("link", target), "a link that stays");
    }
    for target in ["../outside", "/outside"] {
        Place::new().refuses(Tar::default().hard_link("link", target), "a link to something in the same archive");
    }
}

#[test]
fn nothing_is_written_through_a_link() {
    // Each link alone stays inside by its text; together they would lead out.
    let up = || Tar::default().folder("p").folder("p/q").symlink("p/q/up", "../..").symlink("out", "p/q/up/..");
    Place::new().refuses(up().file("out/outside", "evil"), "through a link");
    let place = Place::new();
    std::os::unix::fs::symlink(place.0.path(), place.below().join("was-there")).expect("it can be made");
    place.refuses(Tar::default().file("was-there/outside", "evil"), "through a link");
    place.refuses(Tar::default().hard_link("mine", "was-there/outside"), "through a link");
    let place = Place::new();
    std::os::unix::fs::symlink(place.0.path().join("outside"), place.below().join("file")).expect("it can be made");
    place.unpack(Tar::default().file("file", "mine")).expect("the link itself is replaced");
    assert_eq!(fs::read_to_string(place.0.path().join("outside")).expect("it is there"), "safe");
    let place = Place::new();
    std::os::unix::fs::symlink(place.0.path(), place.below().join("folder")).expect("it can be made");
    place.refuses(Tar::default().entry("folder", EntryType::Directory, "", b"", 0o777), "through a link");
}

#[test]
fn devices_pipes_and_what_is_no_file_are_refused() {
    for kind in [EntryType::Char, EntryType::Block, EntryType::Fifo] {
        Place::new().refuses(Tar::default().entry("node", kind, "", b"", 0o666), "a file, a folder or a link");
    }
}

#[test]
fn bombs_are_refused() {
    let zeros = |bytes: usize| gzip(&Tar::default().entry("big", EntryType::Regular, "", &vec![0; bytes], 0o644).0);
    let place = Place::new();
    let sandbox = Kind::Sandbox { owner: None };
    let error = unpack_as(sandbox, &zeros(2 << 20), &place.below()).expect_err("it is too large");
    assert!(matches!(error, UnpackError::Bytes(bytes) if bytes == 1 << 20), "{error}");
    let many = (0..101).fold(Tar::default(), |tar, number| tar.file(&format!("f{number}"), ""));
    place.refuses(many, "more than 100 entries");
    // What is not written is read all the same.
    let skipped = Tar::default().entry("link", EntryType::Symlink, "a", &vec![0; 4 << 20], 0o777);
    let error = unpack_as(sandbox, &gzip(&skipped.file("a", "").0), &place.below()).expect_err("it is too long");
    assert!(error.to_string().contains("it goes on for too long"), "{error}");
    let long = Tar::default().entry("././@LongLink", EntryType::GNULongName, "", &vec![b'a'; 2 << 20], 0o644);
    place.refuses(long, "longer than a mebibyte");
    // A header that promises more than there is.
    let mut short = Tar::default().file("a", "content").0;
    short.truncate(600);
    place.refuses(Tar(short), "expected a tar archive");
}

#[test]
fn long_names_come_from_the_entries_before() {
    let place = Place::new();
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(120));
    let named = |name: &str| {
        Tar::default().entry("././@LongLink", EntryType::GNULongName, "", format!("{name}\0").as_bytes(), 0o644)
    };
    place.unpack(named(&long).file("short", "long")).expect("it is good");
    assert_eq!(fs::read_to_string(place.below().join(&long)).expect("it is there"), "long");
    place.refuses(named("../outside").file("short", "evil"), "stays in the archive's own folder");
    let pax = |record: &str| Tar::default().entry("pax", EntryType::XHeader, "", record.as_bytes(), 0o644);
    place.refuses(pax("19 path=../outside\n").file("short", "evil"), "stays in the archive's own folder");
    place.refuses(pax("22 GNU.sparse.major=1\n").file("short", "evil"), "sparse files are refused");
}

#[test]
fn what_is_no_archive_says_so() {
    let place = Place::new();
    for bytes in [&b""[..], b"hello, world", &[0x28, 0xb5, 0x2f, 0xfd, 0, 0], &[0x1f, 0x8b, 9, 9, 9]] {
        let error = unpack_as(Kind::Sandbox { owner: None }, bytes, &place.below()).expect_err("it is none");
        assert!(error.to_string().starts_with("expected a tar archive"), "{error}");
    }
}

#[test]
fn what_is_cancelled_stops() {
    let place = Place::new();
    let tar = Tar::default().file("a", "content");
    let root = root(&place.below()).expect("it exists");
    let done = unpack(&tar.0[..], &root, Kind::Sandbox { owner: None }, BOUNDS, &AtomicBool::new(true));
    assert!(done.is_err());
    assert!(!place.below().join("a").exists());
}

#[test]
fn removals_of_a_layer_are_written_as_an_overlay_has_them() {
    if !rustix::process::geteuid().is_root() {
        return println!("skipped: only root can make what an overlay takes for a removal");
    }
    let place = Place::new();
    let tar = Tar::default()
        .file("etc/.wh.gone", "")
        .folder("var/")
        .file("var/.wh..wh..opq", "")
        .file("kept", "content")
        .file(".wh.kept", "")
        .file("/rooted", "")
        .entry("dev/null", EntryType::Char, "", b"", 0o666)
        .entry("bin/su", EntryType::Regular, "", b"", 0o4755)
        .symlink("etc/mtab", "/proc/mounts");
    unpack_as(Kind::Layer(Owners::Kept), &tar.0, &place.below()).expect("it is good");
    let below = place.below();
    let gone = fs::symlink_metadata(below.join("etc/gone")).expect("it is there");
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    let mut value = [0; 8];
    let opaque = rustix::fs::getxattr(below.join("var"), "trusted.overlay.opaque", &mut value[..]);
    assert_eq!(opaque.map(|len| value[..len].to_vec()), Ok(b"y".to_vec()));
    assert_eq!(fs::read_to_string(below.join("kept")).expect("a removal is of lower layers"), "content");
    assert!(below.join("rooted").exists() && !below.join("dev/null").exists());
    assert_eq!(fs::metadata(below.join("bin/su")).expect("it is there").mode() & 0o7777, 0o4755);
    let error = unpack_as(Kind::Layer(Owners::possible()), &Tar::default().file("../outside", "evil").0, &below)
        .expect_err("it is hostile");
    assert!(error.to_string().contains("stays in the archive's own folder"), "{error}");
}

#[test]
fn a_layer_that_a_plain_user_unpacks_is_all_that_users() {
    let place = Place::new();
    let tar = Tar::default().file("etc/.wh.gone", "").folder("var/").file("var/.wh..wh..opq", "").entry(
        "bin/su",
        EntryType::Regular,
        "",
        b"",
        0o6755,
    );
    let below = place.below();
    match unpack_as(Kind::Layer(Owners::Unpacker), &tar.0, &below) {
        Err(UnpackError::Write { source, .. }) if source.raw_os_error() == Some(libc::ENOTSUP) => {
            return println!("skipped: this file system has no attributes for users");
        }
        unpacked => drop(unpacked.expect("it is good")),
    }
    let gone = fs::symlink_metadata(below.join("etc/gone")).expect("it is there");
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0, "everybody can make a removal");
    let mut value = [0; 8];
    let opaque = rustix::fs::getxattr(below.join("var"), "user.overlay.opaque", &mut value[..]);
    assert_eq!(opaque.map(|len| value[..len].to_vec()), Ok(b"y".to_vec()));
    let tool = fs::metadata(below.join("bin/su")).expect("it is there");
    assert_eq!(tool.mode() & 0o7777, 0o755, "nobody else is to run as this user by it");
    assert_eq!(tool.uid(), rustix::process::geteuid().as_raw());
}
