//! Images made by hand, as a folder in the OCI image layout.

use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

/// A folder with images.
pub(crate) struct Layout {
    pub(crate) folder: tempfile::TempDir,
    images: Vec<Value>,
}

/// An archive being made.
pub(crate) struct Builder(tar::Builder<Vec<u8>>);

impl Default for Builder {
    fn default() -> Self {
        Self(tar::Builder::new(Vec::new()))
    }
}

impl Builder {
    pub(crate) fn file(mut self, path: &str, content: &[u8], mode: u32) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(mode);
        // Set by hand: a hostile name is one that the library would refuse.
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        header.set_cksum();
        self.0.append(&header, content).expect("it goes to memory");
        self
    }

    pub(crate) fn link(mut self, path: &str, target: &str) -> Self {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        header.set_mode(0o777);
        self.0.append_link(&mut header, path, target).expect("it goes to memory");
        self
    }

    pub(crate) fn done(self) -> Vec<u8> {
        self.0.into_inner().expect("it goes to memory")
    }
}

/// As `gzip` has it.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packer.write_all(bytes).expect("it goes to memory");
    packer.finish().expect("it goes to memory")
}

/// What `sha256sum` says.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    ring::digest::digest(&ring::digest::SHA256, bytes).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Layout {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir_all(folder.path().join("blobs/sha256")).expect("it can be made");
        std::fs::write(folder.path().join("oci-layout"), r#"{"imageLayoutVersion": "1.0.0"}"#)
            .expect("it can be written");
        Self { folder, images: Vec::new() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    pub(crate) fn blob_path(&self, digest: &str) -> PathBuf {
        self.path().join("blobs/sha256").join(digest)
    }

    fn blob(&self, bytes: &[u8], media_type: &str) -> Value {
        let digest = sha256(bytes);
        std::fs::write(self.blob_path(&digest), bytes).expect("it can be written");
        json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes.len()})
    }

    /// Adds an image; the digest of its manifest.
    pub(crate) fn add(&mut self, tag: &str, layers: &[Vec<u8>], config: &Value) -> String {
        let descriptors: Vec<Value> =
            layers.iter().map(|layer| self.blob(layer, "application/vnd.oci.image.layer.v1.tar")).collect();
        let ids: Vec<String> = layers.iter().map(|layer| format!("sha256:{}", sha256(layer))).collect();
        let architecture = if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" };
        let document = json!({"os": "linux", "architecture": architecture, "config": config,
            "rootfs": {"type": "layers", "diff_ids": ids}});
        let config = self.blob(document.to_string().as_bytes(), "application/vnd.oci.image.config.v1+json");
        self.list(tag, &config, &descriptors)
    }

    /// Adds an artefact: files by their names.
    pub(crate) fn add_files(&mut self, tag: &str, files: &[(&str, &[u8])]) -> String {
        let file = |(name, bytes): &(&str, &[u8])| {
            let mut descriptor = self.blob(bytes, "application/octet-stream");
            descriptor["annotations"] = json!({"org.opencontainers.image.title": name});
            descriptor
        };
        let descriptors: Vec<Value> = files.iter().map(file).collect();
        let config = self.blob(b"{}", "application/vnd.oci.empty.v1+json");
        self.list(tag, &config, &descriptors)
    }

    fn list(&mut self, tag: &str, config: &Value, layers: &[Value]) -> String {
        let manifest = json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config, "layers": layers});
        let mut manifest = self.blob(manifest.to_string().as_bytes(), "application/vnd.oci.image.manifest.v1+json");
        manifest["annotations"] = json!({"org.opencontainers.image.ref.name": tag});
        let digest = manifest["digest"].as_str().expect("it was made").to_owned();
        self.images.push(manifest);
        let index = json!({"schemaVersion": 2, "manifests": self.images});
        std::fs::write(self.path().join("index.json"), index.to_string()).expect("it can be written");
        digest
    }
}

/// A layer with a shell and the usual tools; `None`, and a word, where this machine has no static ones.
pub(crate) fn busybox() -> Option<Vec<u8>> {
    let Some(busybox) = ["/bin/busybox", "/usr/bin/busybox"].iter().find_map(|path| std::fs::read(path).ok()) else {
        println!("skipped: no busybox (Debian package busybox-static)");
        return None;
    };
    let tools = ["sh", "cat", "echo", "id", "ls", "touch", "pwd", "env", "sleep", "mount", "grep", "rm", "true", "wc"];
    let layer = Builder::default().file("bin/busybox", &busybox, 0o755);
    let layer = tools.iter().fold(layer, |layer, tool| layer.link(&format!("bin/{tool}"), "busybox"));
    Some(layer.file("etc/passwd", b"root:x:0:0::/:/bin/sh\napp:x:4321:8765::/:/bin/sh\n", 0o644).done())
}
