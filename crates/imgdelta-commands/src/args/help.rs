//! Ends of the long help: examples, then the forms of names.

macro_rules! images {
    () => {
        "\
Images:
  oci:DIR[:TAG]             an OCI layout
  oci-archive:FILE[:TAG]    an OCI layout in a tar file
  docker-archive:FILE[:REF] a file of `docker save` or `podman save`
  dir:DIR                   a directory of `skopeo copy … dir:DIR`
  docker://HOST/REPO[:TAG]  an image in a registry; also REPO@DIGEST
  containerd:[NS//]NAME     an image of containerd on this machine
  containers-storage:NAME   an image of podman, CRI-O or buildah; [/srv/storage]NAME
  docker-daemon:NAME        an image of docker; also sha256:ID and [/srv/docker]NAME
  rootfs:DIR[:FRAMES]       an unpacked image; FRAMES is a folder of
                            `imgdelta frames`, by default below DIR in
                            var/lib/imgdelta/image
  PATH[:TAG]                any of these files; the kind is detected
  Archives may be compressed (gzip, zstd), pipes, or - for standard input.

Exit codes: see `imgdelta --help`."
    };
}

macro_rules! repositories {
    () => {
        "\
Registry images:
  docker://HOST[:PORT]/REPO[:TAG][@DIGEST]
  TLS is required, except on this machine. Logins of docker, podman and skopeo
  are used.

Exit codes: see `imgdelta --help`."
    };
}

macro_rules! destinations {
    () => {
        "\
Destinations:
  oci:DIR[:TAG]             an OCI layout, new or existing
  oci-archive:FILE[:TAG]    an OCI layout in a tar file
  docker-archive:FILE[:REF] for `docker load` and `podman load`, uncompressed
  docker://HOST/REPO[:TAG]  a registry
  FILE may be a pipe or a character device, which receives the complete
  archive.

"
    };
}

pub const DIFF: &str = concat!(
    "\
Examples:
  imgdelta diff oci:images:old oci:images:new
  imgdelta diff old.tar new.tar --files --filter '/etc/**'
  imgdelta diff docker://registry.example/app:1 docker://registry.example/app:2 --cost

",
    images!()
);

pub const CREATE: &str = concat!(
    "\
Examples:
  imgdelta create oci:images:old oci:images:new -o up.imgdelta
  imgdelta create old.tar new.tar -o up.imgdelta --rollback down.imgdelta
  imgdelta create old.tar new.tar --dry-run --json | jq '.deltas[0].bytes'
  imgdelta create --no-base oci:images:new -o first.imgdelta

",
    images!()
);

pub const APPLY: &str = concat!(
    "\
Examples:
  imgdelta apply up.imgdelta --base oci:node:old -o oci:node:new
  imgdelta apply up.imgdelta --base old.tar -o docker-archive:new.tar
  imgdelta apply --base oci:node:1 --base oci:node:2 up.imgdelta -o oci:node:3
  imgdelta apply first.imgdelta -o oci:node:1

",
    destinations!(),
    images!()
);

pub const VERIFY: &str = concat!(
    "\
Examples:
  imgdelta verify up.imgdelta --base oci:images:old
  imgdelta verify - --base old.tar < up.imgdelta

",
    images!()
);

pub const INSPECT: &str = "\
Examples:
  imgdelta inspect up.imgdelta
  imgdelta inspect up.imgdelta --files | head -30
  imgdelta inspect up.imgdelta --json | jq -r .base

Exit codes: see `imgdelta --help`.";

pub const PUSH: &str = concat!(
    "\
Examples:
  imgdelta push up.imgdelta docker://registry.example/app:2
  imgdelta push up.imgdelta docker://registry.example/app --print-digest

",
    repositories!()
);

pub const PULL: &str = concat!(
    "\
Examples:
  imgdelta pull docker://registry.example/app:2 --base oci:node:1 -o oci:node:2
  imgdelta pull docker://registry.example/app:2 --base old.tar -o docker-archive:new.tar
  imgdelta pull docker://registry.example/app:2 --base oci:node:1 -o oci:node:2 --dry-run

",
    destinations!(),
    repositories!()
);

pub const LOG: &str = concat!(
    "\
Examples:
  imgdelta log docker://registry.example/app
  imgdelta log docker://registry.example/app --html versions.html
  imgdelta log docker://registry.example/app --json | jq -r '.versions[].tags[]'

",
    repositories!()
);

pub const DELTAS: &str = concat!(
    "\
Examples:
  imgdelta deltas list docker://registry.example/app:2
  imgdelta deltas fetch docker://registry.example/app:2 1a2b3c -o up.imgdelta
  imgdelta deltas delete docker://registry.example/app:2 1a2b3c

",
    repositories!()
);

pub const FRAMES: &str = concat!(
    "\
Examples:
  imgdelta frames docker://registry.example/app:1
  imgdelta frames docker://registry.example/app:1 --json
  imgdelta frames oci:images:1 -o /srv/root/var/lib/imgdelta/image

The folder of -o makes the unpacked image a base: rootfs:/srv/root.

",
    images!()
);

pub const COMPLETIONS: &str = "\
Examples:
  source <(imgdelta completions bash)
  imgdelta completions zsh > ~/.zfunc/_imgdelta
  imgdelta completions fish > ~/.config/fish/completions/imgdelta.fish";
