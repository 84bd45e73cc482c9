use std::fs;
use std::process::Command;

use rialto_sdk::blobs::Limits;

use super::*;

struct Repository(TempDir);

impl Repository {
    /// One commit on `trunk` with two files, and a tag.
    fn new() -> Self {
        let repository = Self(tempfile::tempdir().unwrap());
        repository.git(&["init", "--quiet", "--initial-branch=trunk"]);
        fs::create_dir(repository.path().join("below")).unwrap();
        fs::write(repository.path().join("below/file"), "1").unwrap();
        fs::write(repository.path().join("top"), "2").unwrap();
        repository.commit("A title\n\nAnd more.");
        repository.git(&["tag", "v1.0"]);
        repository
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn text(&self) -> &str {
        self.path().to_str().unwrap()
    }

    fn commit(&self, message: &str) {
        self.git(&["add", "--all"]);
        self.git(&["-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "--quiet", "-m", message]);
    }

    fn git(&self, arguments: &[&str]) {
        let status = Command::new("git").arg("-C").arg(self.path()).args(arguments).status().unwrap();
        assert!(status.success(), "git {arguments:?}");
    }
}

async fn names_in(checkout: &Checkout) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(BlobStore::open(folder.path(), Limits::default()).unwrap());
    let stored = checkout.archive(&store).await.unwrap();
    assert_eq!(checkout.archive(&store).await.unwrap(), stored, "the same commit is the same archive");
    let mut archive = tar::Archive::new(fs::File::open(store.path(stored.digest).unwrap()).unwrap());
    let entries = archive.entries().unwrap().map(|entry| entry.unwrap());
    let files = entries.filter(|entry| entry.header().entry_type().is_file());
    files.map(|entry| entry.path().unwrap().to_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_local_commit_has_a_name_and_files() {
    let repository = Repository::new();
    let checkout = Checkout::of(repository.text(), "HEAD").await.unwrap();
    let commit = &checkout.commit;
    assert_eq!(commit.branch.as_deref(), Some("trunk"));
    assert_eq!((&commit.tag, &commit.default_branch), (&None, &None));
    assert_eq!(commit.work_tree, WorkTree::Clean);
    assert_eq!(names_in(&checkout).await, ["below/file", "top"]);

    let variables = commit.variables();
    assert_eq!(variables["CI_COMMIT_TITLE"], "A title");
    assert_eq!(variables["CI_COMMIT_SHORT_SHA"].len(), 8);
    assert_eq!(variables["CI_COMMIT_BRANCH"], "trunk");
    assert!(!variables.contains_key("CI_COMMIT_TAG"));
}

#[tokio::test]
async fn uncommitted_work_takes_no_part_and_is_noticed() {
    let repository = Repository::new();
    fs::write(repository.path().join("new"), "3").unwrap();
    let checkout = Checkout::of(repository.text(), "HEAD").await.unwrap();
    assert_eq!(checkout.commit.work_tree, WorkTree::Changed);
    assert_eq!(names_in(&checkout).await, ["below/file", "top"]);

    repository.commit("second");
    let tagged = Checkout::of(repository.text(), "v1.0").await.unwrap();
    assert_eq!(tagged.commit.tag.as_deref(), Some("v1.0"));
    assert_eq!((tagged.commit.branch.as_deref(), tagged.commit.work_tree), (None, WorkTree::Clean));
    assert_eq!(tagged.commit.variables()["CI_COMMIT_REF_SLUG"], "v1-0");
}

#[tokio::test]
async fn a_folder_below_the_top_means_the_whole_repository() {
    let repository = Repository::new();
    let below = repository.path().join("below");
    let checkout = Checkout::of(below.to_str().unwrap(), "trunk").await.unwrap();
    assert_eq!(names_in(&checkout).await, ["below/file", "top"]);
}

#[tokio::test]
async fn a_url_is_fetched() {
    let repository = Repository::new();
    repository.git(&["branch", "side"]);
    let url = format!("file://{}", repository.text());
    for (reference, branch, tag) in
        [("HEAD", Some("trunk"), None), ("side", Some("side"), None), ("v1.0", None, Some("v1.0"))]
    {
        let checkout = Checkout::of(&url, reference).await.unwrap();
        assert_eq!((checkout.commit.branch.as_deref(), checkout.commit.tag.as_deref()), (branch, tag), "{reference}");
        assert_eq!(checkout.commit.default_branch.as_deref(), Some("trunk"));
        assert_eq!(names_in(&checkout).await, ["below/file", "top"]);
    }
}

#[tokio::test]
async fn what_is_not_there_is_said() {
    let repository = Repository::new();
    let message = async |place: &str, reference: &str| Checkout::of(place, reference).await.unwrap_err().to_string();
    let missing = message(repository.text(), "nowhere").await;
    assert!(missing.starts_with("commit \"nowhere\" is not in repository"), "{missing}");
    let url = format!("file://{}", repository.text());
    let missing = message(&url, "nowhere").await;
    assert!(missing.starts_with("commit \"nowhere\" is not in repository"), "{missing}");
    assert_eq!(
        message(repository.text(), "--all").await,
        "commit \"--all\": expected the name of a branch, tag or commit"
    );
    let empty = tempfile::tempdir().unwrap();
    for place in [empty.path().to_str().unwrap(), "no/such/folder", "ext::sh -c true", "--upload-pack=x"] {
        let message = message(place, "HEAD").await;
        assert_eq!(message, format!("repository {place:?}: expected a folder with a git repository, or a URL"));
    }
}

#[test]
fn projects_are_named_by_the_last_part_of_their_place() {
    for (place, name) in
        [("https://x.org/a/b.git", "b"), ("host:tools/", "tools"), ("/srv/c", "c"), ("host:d.git", "d")]
    {
        assert_eq!(project_name(place), name);
    }
}
