use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rialto_core::model::{Attribute, Device, DeviceId, DeviceMode, Health, Proof, Quantities, Topology};
use rustix::fs::Access;

use super::{check_kind, pairs, parse_mode};

/// Character and block devices whose paths match a pattern and that this process may open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob {
    /// Without the leading slash.
    parts: Vec<String>,
    kind: Arc<str>,
    mode: DeviceMode,
}

impl Glob {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (pattern, rest) = text.split_once(',').unwrap_or((text, ""));
        let Some(below_root) = pattern.trim().strip_prefix('/') else {
            return Err(format!("expected an absolute path such as /dev/loop[0-9]*, got {pattern:?}"));
        };
        let parts: Vec<String> = below_root.split('/').map(str::to_owned).collect();
        if parts.iter().any(|part| part.is_empty() || part == "..") {
            return Err(format!("expected a path without empty parts and '..', got {pattern:?}"));
        }
        let mut mode = DeviceMode::Exclusive;
        let mut kind = kind_of(parts.last().expect("splitting gives at least one part"));
        for (name, value) in pairs(rest)? {
            match name {
                "kind" => kind = value.to_owned(),
                "mode" => mode = parse_mode(value)?,
                _ => return Err(format!("{name}: not known here; expected kind or mode")),
            }
        }
        check_kind(&kind)?;
        Ok(Self { parts, kind: kind.into(), mode })
    }

    pub(super) fn devices(&self) -> Vec<Device> {
        let mut paths = vec![PathBuf::from("/")];
        for part in &self.parts {
            paths = paths.iter().flat_map(|path| entries(path, part)).collect();
        }
        let links = stable_links();
        let mut found = BTreeMap::new();
        for path in paths {
            if let Some((number, device)) = self.device(&path, &links) {
                found.entry(number).or_insert(device);
            }
        }
        found.into_values().collect()
    }

    fn device(&self, path: &Path, links: &BTreeMap<PathBuf, String>) -> Option<((bool, u64), Device)> {
        let metadata = fs::metadata(path).ok()?;
        let file_type = metadata.file_type();
        if !file_type.is_block_device() && !file_type.is_char_device() {
            return None;
        }
        rustix::fs::access(path, Access::READ_OK | Access::WRITE_OK).ok()?;
        let node = path.to_str()?;
        let id = links.get(&path.canonicalize().ok()?).cloned().unwrap_or_else(|| plain_id(node));
        let class = if file_type.is_block_device() { "block" } else { "char" };
        let device = Device {
            id: DeviceId::new(&id),
            kind: self.kind.clone(),
            vendor: "".into(),
            model: "".into(),
            generation: 0,
            attributes: BTreeMap::from([
                ("node".into(), Attribute::text(node)),
                ("class".into(), Attribute::text(class)),
            ]),
            topology: Topology::default(),
            mode: self.mode,
            health: Health::Healthy,
            nodes: vec![node.into()],
            // Several tenants may have a shared one open: who still has it open shows nothing.
            proof: if self.mode == DeviceMode::Shared { Proof::TreeGone } else { super::holders::proof() },
            host_share: Quantities::new(),
        };
        (id.len() <= DeviceId::MAX_LEN).then_some(((file_type.is_block_device(), metadata.rdev()), device))
    }
}

/// The letters that the file name begins with: `loop` of `loop[0-9]*`.
fn kind_of(file_name: &str) -> String {
    let end = file_name.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(file_name.len());
    if end == 0 { "device".to_owned() } else { file_name[..end].to_owned() }
}

/// `/dev/mapper/x` → `mapper-x`.
fn plain_id(node: &str) -> String {
    node.strip_prefix("/dev/").unwrap_or(node).trim_start_matches('/').replace('/', "-")
}

/// What udev calls devices by what they are, or where they are plugged in: node → name. What they are comes first.
fn stable_links() -> BTreeMap<PathBuf, String> {
    let mut links = BTreeMap::new();
    for by in ["by-id", "by-path"] {
        for folder in entries(Path::new("/dev"), "*").into_iter().map(|class| class.join(by)) {
            for link in entries(&folder, "*") {
                let name = link.file_name().map(|name| format!("{by}-{}", name.to_string_lossy()));
                let (Ok(node), Some(name)) = (link.canonicalize(), name) else { continue };
                links.entry(node).or_insert(name);
            }
        }
    }
    links
}

/// The entries of a folder that match, in order; none if it can't be read.
fn entries(folder: &Path, pattern: &str) -> Vec<PathBuf> {
    if !pattern.contains(['*', '?', '[']) {
        return vec![folder.join(pattern)];
    }
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    let mut found: Vec<PathBuf> =
        names.filter(|name| matches(pattern.as_bytes(), name.as_bytes())).map(|name| folder.join(name)).collect();
    found.sort();
    found
}

/// Whether `name` matches `pattern`: `*` any bytes, `?` any one, `[a-z]` one of these, `[!a-z]` none of these.
pub(super) fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.first() {
        None => name.is_empty(),
        Some(b'*') => (0..=name.len()).any(|skip| matches(&pattern[1..], &name[skip..])),
        Some(b'[') => {
            let (Some(end), Some(first)) = (pattern.iter().position(|byte| *byte == b']'), name.first()) else {
                return false;
            };
            in_class(&pattern[1..end], *first) && matches(&pattern[end + 1..], &name[1..])
        }
        Some(wanted) => {
            name.first().is_some_and(|byte| *wanted == b'?' || wanted == byte) && matches(&pattern[1..], &name[1..])
        }
    }
}

fn in_class(class: &[u8], byte: u8) -> bool {
    let (class, negated) = match class.strip_prefix(b"!") {
        Some(rest) => (rest, true),
        None => (class, false),
    };
    let mut at = 0;
    let mut found = false;
    while at < class.len() {
        let last = if class.get(at + 1) == Some(&b'-') && at + 2 < class.len() { at + 2 } else { at };
        found |= (class[at]..=class[last]).contains(&byte);
        at = last + 1;
    }
    found != negated
}
