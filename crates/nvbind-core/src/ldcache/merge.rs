//! Our libraries into an image's cache.

use super::order::{before, before_total};
use super::{Cache, Entry, Error, Library, MAX_STRING};

/// The image's cache with `ours` in front of whatever else has their names, and without what lies in or
/// below the directories `drop_below`: what an earlier start put there. Without an image's cache, one of
/// ours alone (see the module's page for what that means).
///
/// Among `ours`, the first of a soname wins.
///
/// # Errors
///
/// The image's cache is none or damaged, one of ours is no library that a cache can hold, or the whole
/// would be too large. After all but [`Error::Library`], `merge(None, …)` still gives a cache that finds
/// ours.
pub fn merge(image: Option<&[u8]>, ours: &[Library<'_>], drop_below: &[&[u8]]) -> Result<Vec<u8>, Error> {
    let image = image.map(Cache::parse).transpose()?.unwrap_or_default();
    let mut theirs = image.entries;
    theirs.retain(|entry| !drop_below.iter().any(|directory| lies_below(entry.path, directory)));
    if !theirs.is_sorted_by(|a, b| before(a, b).is_le()) {
        // The loader would miss some of these, and with them some of ours.
        theirs.sort_by(before_total);
    }
    let ours = sort(ours)?;
    let mut entries = Vec::with_capacity(theirs.len() + ours.len());
    let mut ours = ours.into_iter().peekable();
    for entry in theirs {
        while let Some(own) = ours.next_if(|own| before(own, &entry).is_le()) {
            entries.push(own);
        }
        entries.push(entry);
    }
    entries.extend(ours);
    Cache { entries, ..image }.to_bytes()
}

/// Ours as entries, in the cache's order.
fn sort<'a>(ours: &[Library<'a>]) -> Result<Vec<Entry<'a>>, Error> {
    let mut entries = ours.iter().map(entry).collect::<Result<Vec<_>, _>>()?;
    entries.sort_by(before_total);
    Ok(entries)
}

fn entry<'a>(library: &Library<'a>) -> Result<Entry<'a>, Error> {
    let Library { soname, path, abi } = *library;
    let fits = |string: &[u8]| string.len() < MAX_STRING && !string.contains(&0);
    if soname.is_empty() || !path.starts_with(b"/") || !fits(soname) || !fits(path) {
        return Err(Error::Library {
            soname: String::from_utf8_lossy(soname).into_owned(),
            path: String::from_utf8_lossy(path).into_owned(),
        });
    }
    Ok(Entry { flags: abi.flags(), soname, path, os_version: 0, hwcap: 0 })
}

fn lies_below(path: &[u8], directory: &[u8]) -> bool {
    path.strip_prefix(directory.strip_suffix(b"/").unwrap_or(directory))
        .is_some_and(|rest| rest.starts_with(b"/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::Abi;

    const VIEW: &[u8] = b"/usr/local/nvidia/lib64";

    fn library<'a>(soname: &'a str, path: &'a str) -> Library<'a> {
        Library { soname: soname.as_bytes(), path: path.as_bytes(), abi: Abi::X86_64 }
    }

    fn image(lines: &[(&'static str, &'static str, u32, u64)]) -> Cache<'static> {
        let entry = |&(soname, path, flags, hwcap): &(&'static str, &'static str, u32, u64)| Entry {
            flags,
            soname: soname.as_bytes(),
            path: path.as_bytes(),
            os_version: 0,
            hwcap,
        };
        Cache {
            entries: lines.iter().map(entry).collect(),
            hwcaps: vec![b"x86-64-v2", b"x86-64-v3"],
            generator: Some(b"ldconfig (test)"),
        }
    }

    fn lines(file: &[u8]) -> Vec<String> {
        let cache = Cache::parse(file).unwrap();
        let line = |entry: &Entry<'_>| {
            let soname = String::from_utf8_lossy(entry.soname);
            let path = String::from_utf8_lossy(entry.path);
            format!("{soname} {:#x} {:#x} {path}", entry.flags, entry.hwcap)
        };
        cache.entries().iter().map(line).collect()
    }

    #[test]
    fn ours_stand_before_the_image_s_of_the_same_name_and_the_rest_stays_in_order() {
        let image = image(&[
            ("libz.so.1", "/lib/libz.so.1", 0x303, 0),
            ("libcuda.so.1", "/lib32/libcuda.so.1", 0x3, 0),
            ("libcuda.so.1", "/opt/v3/libcuda.so.1", 0x303, 1 << 62 | 1),
            ("libcuda.so.1", "/lib/libcuda.so.1", 0x303, 0),
            ("libc.so.6", "/lib/libc.so.6", 0x303, 0),
        ]);
        let file = image.to_bytes().unwrap();
        let ours = [
            library("libnvidia-ml.so.1", "/v/libnvidia-ml.so.1"),
            library("libcuda.so.1", "/v/libcuda.so.1"),
            library("libcuda.so.1", "/second/libcuda.so.1"),
            library("liba.so", "/v/liba.so"),
        ];
        let merged = merge(Some(&file), &ours, &[]).unwrap();
        let expected = [
            "libz.so.1 0x303 0x0 /lib/libz.so.1",
            "libnvidia-ml.so.1 0x303 0x0 /v/libnvidia-ml.so.1",
            "libcuda.so.1 0x303 0x0 /v/libcuda.so.1",
            "libcuda.so.1 0x303 0x0 /second/libcuda.so.1",
            "libcuda.so.1 0x303 0x4000000000000001 /opt/v3/libcuda.so.1",
            "libcuda.so.1 0x303 0x0 /lib/libcuda.so.1",
            "libcuda.so.1 0x3 0x0 /lib32/libcuda.so.1",
            "libc.so.6 0x303 0x0 /lib/libc.so.6",
            "liba.so 0x303 0x0 /v/liba.so",
        ];
        assert_eq!(lines(&merged), expected);
        let merged = Cache::parse(&merged).unwrap();
        assert_eq!(merged.hwcaps(), image.hwcaps());
        assert_eq!(merged.generator(), image.generator());
    }

    #[test]
    fn taking_ours_out_gives_the_image_s_cache_back() {
        let image = image(&[
            ("libz.so.1", "/lib/libz.so.1", 0x303, 0),
            ("libcuda.so.1", "/opt/v3/libcuda.so.1", 0x303, 1 << 62 | 1),
            ("libcuda.so.1", "/usr/local/nvidia/lib64x/libcuda.so.1", 0x303, 0),
        ]);
        let file = image.to_bytes().unwrap();
        let ours = [
            library("libcuda.so.1", "/usr/local/nvidia/lib64/libcuda.so.1"),
            library("libnew.so.1", "/usr/local/nvidia/lib64/libnew.so.1"),
        ];
        let merged = merge(Some(&file), &ours, &[]).unwrap();
        assert_ne!(merged, file);
        assert_eq!(merge(Some(&merged), &[], &[VIEW]).unwrap(), file);
        assert_eq!(merge(Some(&merged), &[], &[b"/usr/local/nvidia/lib64/"]).unwrap(), file);
        assert_eq!(merge(Some(&merged), &ours, &[VIEW]).unwrap(), merged);
    }

    #[test]
    fn without_an_image_s_cache_there_is_one_of_ours_alone() {
        let mut ours = vec![library("libcuda.so.1", "/v/libcuda.so.1")];
        ours.push(Library { abi: Abi::I386, path: b"/v32/libcuda.so.1", ..ours[0] });
        let merged = merge(None, &ours, &[VIEW]).unwrap();
        let expected = ["libcuda.so.1 0x303 0x0 /v/libcuda.so.1", "libcuda.so.1 0x3 0x0 /v32/libcuda.so.1"];
        assert_eq!(lines(&merged), expected);
    }

    #[test]
    fn a_library_that_no_cache_can_hold_is_refused() {
        let long = format!("/{}", "a".repeat(MAX_STRING));
        for (soname, path) in [
            ("", "/v/libcuda.so.1"),
            ("libcuda.so.1", "v/libcuda.so.1"),
            ("libcuda.so.1", "/v/lib\0cuda.so.1"),
            ("libcuda\0.so.1", "/v/libcuda.so.1"),
            ("libcuda.so.1", &long),
        ] {
            let refused = merge(None, &[library(soname, path)], &[]).unwrap_err();
            let expected = Error::Library { soname: soname.into(), path: path.into() };
            assert_eq!(refused, expected);
        }
    }
}
