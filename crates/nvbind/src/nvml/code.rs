//! What NVML's functions return (`nvmlReturn_t` of `nvml.h`).

use std::ffi::c_int;
use std::fmt;

/// What a function returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Code(pub(super) c_int);

impl Code {
    /// It did what it should.
    pub(super) const SUCCESS: Code = Code(0);
    /// For an index, that it is beyond the last.
    pub(super) const INVALID_ARGUMENT: Code = Code(2);
    /// The GPU cannot do it.
    pub(super) const NOT_SUPPORTED: Code = Code(3);
    /// This user may not know.
    pub(super) const NO_PERMISSION: Code = Code(4);
    /// There is no such thing.
    pub(super) const NOT_FOUND: Code = Code(6);
    /// There is no libcuda.
    pub(super) const LIBRARY_NOT_FOUND: Code = Code(12);
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(code, _)| *code == self.0) {
            Some((_, name)) => write!(f, "NVML_{name}"),
            None => write!(f, "NVML return code {}", self.0),
        }
    }
}

const NAMES: &[(c_int, &str)] = &[
    (0, "SUCCESS"),
    (1, "ERROR_UNINITIALIZED"),
    (2, "ERROR_INVALID_ARGUMENT"),
    (3, "ERROR_NOT_SUPPORTED"),
    (4, "ERROR_NO_PERMISSION"),
    (5, "ERROR_ALREADY_INITIALIZED"),
    (6, "ERROR_NOT_FOUND"),
    (7, "ERROR_INSUFFICIENT_SIZE"),
    (8, "ERROR_INSUFFICIENT_POWER"),
    (9, "ERROR_DRIVER_NOT_LOADED"),
    (10, "ERROR_TIMEOUT"),
    (11, "ERROR_IRQ_ISSUE"),
    (12, "ERROR_LIBRARY_NOT_FOUND"),
    (13, "ERROR_FUNCTION_NOT_FOUND"),
    (14, "ERROR_CORRUPTED_INFOROM"),
    (15, "ERROR_GPU_IS_LOST"),
    (16, "ERROR_RESET_REQUIRED"),
    (17, "ERROR_OPERATING_SYSTEM"),
    (18, "ERROR_LIB_RM_VERSION_MISMATCH"),
    (19, "ERROR_IN_USE"),
    (20, "ERROR_MEMORY"),
    (21, "ERROR_NO_DATA"),
    (22, "ERROR_VGPU_ECC_NOT_SUPPORTED"),
    (23, "ERROR_INSUFFICIENT_RESOURCES"),
    (24, "ERROR_FREQ_NOT_SUPPORTED"),
    (25, "ERROR_ARGUMENT_VERSION_MISMATCH"),
    (26, "ERROR_DEPRECATED"),
    (27, "ERROR_NOT_READY"),
    (28, "ERROR_GPU_NOT_FOUND"),
    (29, "ERROR_INVALID_STATE"),
    (30, "ERROR_RESET_TYPE_NOT_SUPPORTED"),
    (999, "ERROR_UNKNOWN"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_called_as_in_nvml_h() {
        assert_eq!(Code(9).to_string(), "NVML_ERROR_DRIVER_NOT_LOADED");
        assert_eq!(Code(1234).to_string(), "NVML return code 1234");
        assert!(NAMES.is_sorted_by_key(|(code, _)| code));
    }
}
