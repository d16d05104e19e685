//! What a CUDA image has in `/usr/local/cuda/compat`: a simulated libcuda of a newer driver, with the note on the drivers
//! that it works on.
use std::path::Path;
use std::process::Command;

use super::{ObjectError, SimError};
use crate::process;
use crate::tree::Tree;

/// A `usr` to be copied into an image.
#[derive(Debug, Clone, Copy)]
pub struct ForwardCompat<'a> {
    /// Its version, as in the file's name.
    pub version: &'a str,
    /// The JSON of the note.
    pub note: &'a str,
}

/// CUDA_ERROR_NO_DEVICE is 100 (cuda.h). The section and the note's layout are those of NVIDIA's libcuda.
const SOURCE: &str = r#"
int cuInit(unsigned flags) { (void)flags; return 100; }
__asm__(
    ".pushsection .note.cuda.fwd_compatibility, \"a\", %note\n"
    ".p2align 2\n"
    ".long 19, 2f - 1f, 0\n"
    ".asciz \"NVIDIA Corporation\"\n"
    ".p2align 2\n"
    "1: .asciz \"@NOTE@\"\n"
    "2: .p2align 2\n"
    ".popsection\n");
"#;

impl ForwardCompat<'_> {
    /// Makes the tree at `root`, unless the same is already there.
    pub fn ensure(&self, root: &Path) -> Result<(), SimError> {
        let description = format!("{self:?} format 1");
        if Tree::is_made(root, &description) {
            return Ok(());
        }
        let tree = Tree::create(root)?;
        let directory = "usr/local/cuda-13.0/compat";
        let file = format!("libcuda.so.{}", self.version);
        // As it stands in a string of C in an assembler's string.
        let note = self.note.replace('"', r#"\\\""#);
        tree.file("source.c", SOURCE.replace("@NOTE@", &note), 0o644)?;
        tree.dir(directory)?;
        process::read(
            Command::new("cc")
                .args(["-shared", "-fPIC", "-nostdlib", "-Wl,-soname,libcuda.so.1", "-o"])
                .arg(tree.at(format!("{directory}/{file}")))
                .arg(tree.at("source.c")),
        )
        .map_err(ObjectError::Compile)?;
        tree.link(format!("{directory}/libcuda.so.1"), &file)?;
        tree.link(format!("{directory}/libcuda.so"), "libcuda.so.1")?;
        tree.link("usr/local/cuda", "cuda-13.0")?;
        tree.finish(&description)?;
        Ok(())
    }
}
