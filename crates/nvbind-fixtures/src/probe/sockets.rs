//! Which sockets of the host's programs answer.
use super::Expected;
use super::devices::name_of;
use serde::Serialize;
use std::os::unix::net::UnixStream;

#[derive(Debug, Serialize)]
pub struct Socket {
    pub path: String,
    /// `ok`, or the error's name.
    pub connect: String,
}

pub(super) fn look(expected: &[Expected], unexpected: &mut Vec<String>) -> Vec<Socket> {
    expected
        .iter()
        .map(|one| {
            let connect = name_of(UnixStream::connect(&one.name).map(drop));
            let wanted = one.result.as_deref().unwrap_or("ok");
            if connect != wanted {
                unexpected.push(format!("{}: connecting gives {connect}, expected {wanted}", one.name));
            }
            Socket { path: one.name.clone(), connect }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_socket_answers_or_is_reported_by_the_errors_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket").display().to_string();
        let listener = UnixListener::bind(&path).unwrap();
        let mut unexpected = Vec::new();
        assert_eq!(look(&[Expected::any(path.clone())], &mut unexpected)[0].connect, "ok");
        assert_eq!(unexpected, Vec::<String>::new());
        drop(listener);
        look(&[Expected::any(path.clone())], &mut unexpected);
        assert_eq!(unexpected, [format!("{path}: connecting gives ECONNREFUSED, expected ok")]);
    }
}
