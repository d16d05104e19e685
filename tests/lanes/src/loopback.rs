//! The loopback of a lane's network, all that it has: servers listen there for this machine alone.
#![allow(unsafe_code, reason = "there is no safe wrapper; the one unsafe call about it is in this file")]

use nvbind_fixtures::error::{Doing, Result};
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsRawFd;

const NAME: &[u8] = b"lo";

/// `IFF_UP`, as wide as the structure has it.
const UP: libc::c_short = 1;

/// Starts it, as an init does.
pub(crate) fn start() -> Result<()> {
    let doing = || "start the loopback".to_owned();
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).doing(doing)?;
    let ifr_ifru = libc::__c_anonymous_ifr_ifru { ifru_flags: UP };
    let mut request = libc::ifreq { ifr_name: [0; libc::IFNAMSIZ], ifr_ifru };
    for (to, from) in request.ifr_name.iter_mut().zip(NAME) {
        *to = from.cast_signed();
    }
    // SAFETY: an interface's name and flags are what SIOCSIFFLAGS reads, of a structure that outlives the call.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if answer == 0 { Ok(()) } else { Err(io::Error::last_os_error()).doing(doing) }
}
