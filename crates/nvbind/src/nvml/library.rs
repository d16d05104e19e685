//! The functions of libnvidia-ml that are used, with the types that `nvml.h` gives them: the only unsafe code of the
//! command line.
//!
//! NVIDIA gives a function that changes its meaning a new name, and keeps the old one: of several names the first that
//! the library has is called.
#![expect(unsafe_code, reason = "functions of a library that is written in C")]

use super::Error;
use super::code::Code;
use libloading::Library;
use nvbind_core::pci::PciAddress;
use std::ffi::{CStr, c_char, c_int, c_uint, c_ulonglong, c_void};
use std::path::Path;
use std::ptr;

/// `NVML_DEVICE_UUID_V2_BUFFER_SIZE` and `NVML_DEVICE_NAME_V2_BUFFER_SIZE`.
const TEXT: c_uint = 96;

/// `NVML_DEVICE_MIG_ENABLE`.
const MIG_ENABLED: c_uint = 1;

/// `nvmlDevice_t`, a pointer that only NVML follows: a GPU, or a MIG device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Device(*mut c_void);

/// `nvmlPciInfo_t` of version 3. Version 2 starts the same and is smaller.
#[repr(C)]
#[derive(Debug, Default)]
struct PciInfo {
    bus_id_legacy: [c_char; 16],
    domain: c_uint,
    bus: c_uint,
    device: c_uint,
    pci_device_id: c_uint,
    pci_sub_system_id: c_uint,
    bus_id: [c_char; 32],
}

/// `nvmlMemory_t`, in bytes. What version 2 adds are the parts of the same total.
#[repr(C)]
#[derive(Debug, Default)]
struct Memory {
    total: c_ulonglong,
    free: c_ulonglong,
    used: c_ulonglong,
}

/// A function, and the name under which the library has it.
#[derive(Clone, Copy, Debug)]
struct Call<F> {
    name: &'static str,
    function: F,
}

type Plain = unsafe extern "C" fn() -> c_int;
type GetNumber = unsafe extern "C" fn(*mut c_uint) -> c_int;
type GetVersion = unsafe extern "C" fn(*mut c_int) -> c_int;
type GetMemory = unsafe extern "C" fn(*mut c_void, *mut Memory) -> c_int;
type GetDevice = unsafe extern "C" fn(c_uint, *mut *mut c_void) -> c_int;
type GetPci = unsafe extern "C" fn(*mut c_void, *mut PciInfo) -> c_int;
type GetText = unsafe extern "C" fn(*mut c_void, *mut c_char, c_uint) -> c_int;
type GetMode = unsafe extern "C" fn(*mut c_void, *mut c_uint, *mut c_uint) -> c_int;
type GetNumberOf = unsafe extern "C" fn(*mut c_void, *mut c_uint) -> c_int;
type GetDeviceOf = unsafe extern "C" fn(*mut c_void, c_uint, *mut *mut c_void) -> c_int;
type Say = unsafe extern "C" fn(c_int) -> *const c_char;

/// NVML, loaded. All functions can be called at any time; before [`Nvml::init`] they fail.
#[derive(Debug)]
pub(super) struct Nvml {
    init: Call<Plain>,
    shutdown: Call<Plain>,
    error_string: Call<Say>,
    count: Call<GetNumber>,
    device: Call<GetDevice>,
    pci: Call<GetPci>,
    uuid: Call<GetText>,
    name: Call<GetText>,
    memory: Call<GetMemory>,
    /// None in drivers before 396.
    cuda: Option<Call<GetVersion>>,
    /// None in drivers before 450, which know no MIG.
    mig: Option<Mig>,
    /// The functions are in it.
    _library: Library,
}

#[derive(Debug)]
struct Mig {
    mode: Call<GetMode>,
    places: Call<GetNumberOf>,
    device: Call<GetDeviceOf>,
    gpu_instance: Call<GetNumberOf>,
    compute_instance: Call<GetNumberOf>,
}

/// A GPU that is divided into MIG devices.
#[derive(Debug)]
pub(super) struct Divided<'n> {
    nvml: &'n Nvml,
    mig: &'n Mig,
    gpu: Device,
}

/// Looks a function up by its name, else by the one that older libraries have it under; its type is the field's that it
/// is for.
macro_rules! call {
    ($library:expr, $path:expr, $name:literal $(or $older:literal)?) => {{
        let older: &[&'static str] = &[$($older)?];
        // SAFETY: the types of all fields are those that nvml.h gives the functions of these names.
        unsafe { find($library, $path, $name, older) }
    }};
}

/// # Safety
/// `F` has to be the type of the functions with these names.
unsafe fn find<F: Copy>(
    library: &Library,
    path: &Path,
    newest: &'static str,
    older: &[&'static str],
) -> Result<Call<F>, Error> {
    let get = |name: &'static str| {
        // SAFETY: the caller says that the type is right; the function is not used longer than the library is loaded.
        let symbol = unsafe { library.get::<F>(name) };
        symbol.map(|symbol| Call { name, function: *symbol })
    };
    get(newest).or_else(|source| {
        let found = older.iter().find_map(|name| get(name).ok());
        let missing = || Error::Function { path: path.display().to_string(), function: newest, source };
        found.ok_or_else(missing)
    })
}

impl Nvml {
    /// Loads the library at this absolute path, which has to be one that only root can write.
    pub(super) fn load(path: &Path) -> Result<Nvml, Error> {
        // SAFETY: its initialisers run. It is root's, as all that this process runs, and is asked for by its path.
        let library = unsafe { Library::new(path) }
            .map_err(|source| Error::Load { path: path.display().to_string(), source })?;
        let from = &library;
        Ok(Nvml {
            init: call!(from, path, "nvmlInit_v2" or "nvmlInit")?,
            shutdown: call!(from, path, "nvmlShutdown")?,
            error_string: call!(from, path, "nvmlErrorString")?,
            count: call!(from, path, "nvmlDeviceGetCount_v2" or "nvmlDeviceGetCount")?,
            device: call!(from, path, "nvmlDeviceGetHandleByIndex_v2" or "nvmlDeviceGetHandleByIndex")?,
            pci: call!(from, path, "nvmlDeviceGetPciInfo_v3" or "nvmlDeviceGetPciInfo_v2")?,
            uuid: call!(from, path, "nvmlDeviceGetUUID")?,
            name: call!(from, path, "nvmlDeviceGetName")?,
            memory: call!(from, path, "nvmlDeviceGetMemoryInfo")?,
            cuda: call!(from, path, "nvmlSystemGetCudaDriverVersion_v2" or "nvmlSystemGetCudaDriverVersion")
                .ok(),
            mig: Mig::find(from, path).ok(),
            _library: library,
        })
    }

    pub(super) fn init(&self) -> Result<(), Error> {
        // SAFETY: it takes nothing.
        let code = unsafe { (self.init.function)() };
        self.check(&self.init, code)
    }

    pub(super) fn shutdown(&self) -> Result<(), Error> {
        // SAFETY: it takes nothing; handles of devices are not used any more.
        let code = unsafe { (self.shutdown.function)() };
        self.check(&self.shutdown, code)
    }

    /// How many GPUs there are, those that cannot be used included.
    pub(super) fn count(&self) -> Result<u32, Error> {
        let mut count = 0;
        // SAFETY: it writes a number to where the pointer leads.
        let code = unsafe { (self.count.function)(&raw mut count) };
        self.check(&self.count, code)?;
        Ok(count)
    }

    /// The GPU at this position in NVML's order.
    pub(super) fn device(&self, index: u32) -> Result<Device, Error> {
        let mut device = ptr::null_mut();
        // SAFETY: it writes a handle to where the pointer leads.
        let code = unsafe { (self.device.function)(index, &raw mut device) };
        self.check(&self.device, code)?;
        Ok(Device(device))
    }

    pub(super) fn pci(&self, device: Device) -> Result<PciAddress, Error> {
        let mut info = PciInfo::default();
        // SAFETY: the handle is NVML's own, and the structure is as large as what the function writes, or larger.
        let code = unsafe { (self.pci.function)(device.0, &raw mut info) };
        self.check(&self.pci, code)?;
        // The legacy text has room for four digits of the domain.
        let text = format!("{:x}:{:x}:{:x}.0", info.domain, info.bus, info.device);
        PciAddress::parse(&text).ok_or(Error::Answer { function: self.pci.name, answer: text })
    }

    /// The UUID of a GPU or a MIG device.
    pub(super) fn uuid(&self, device: Device) -> Result<String, Error> {
        self.text(&self.uuid, device)
    }

    /// The name of a GPU or a MIG device.
    pub(super) fn name(&self, device: Device) -> Result<String, Error> {
        self.text(&self.name, device)
    }

    /// How many bytes of memory a GPU has; none where it has none of its own, or where only root may know, as of one
    /// that is divided.
    pub(super) fn memory(&self, gpu: Device) -> Result<Option<(u64, u64)>, Error> {
        let mut memory = Memory::default();
        // SAFETY: the handle is NVML's own, and the structure is the one that nvml.h has for this name.
        let code = unsafe { (self.memory.function)(gpu.0, &raw mut memory) };
        match self.check(&self.memory, code) {
            Err(error) if error.is(&[Code::NOT_SUPPORTED, Code::NO_PERMISSION]) => Ok(None),
            other => other.map(|()| Some((memory.total, memory.used))),
        }
    }

    /// The version of CUDA that the driver brings, as `cuda.h` counts; none where there is no libcuda to ask.
    pub(super) fn cuda(&self) -> Result<Option<u32>, Error> {
        let Some(call) = &self.cuda else { return Ok(None) };
        let mut version = 0;
        // SAFETY: it writes a number to where the pointer leads.
        let code = unsafe { (call.function)(&raw mut version) };
        match self.check(call, code) {
            Err(error) if error.is(&[Code::LIBRARY_NOT_FOUND]) => return Ok(None),
            other => other?,
        }
        let answer = || Error::Answer { function: call.name, answer: version.to_string() };
        Ok(Some(u32::try_from(version).ok().ok_or_else(answer)?))
    }

    /// The GPU as one that is divided into MIG devices, if MIG is on.
    pub(super) fn divided(&self, gpu: Device) -> Result<Option<Divided<'_>>, Error> {
        let Some(mig) = &self.mig else { return Ok(None) };
        let (mut current, mut pending) = (0, 0);
        // SAFETY: the handle is NVML's own, and it writes a number to where each pointer leads.
        let code = unsafe { (mig.mode.function)(gpu.0, &raw mut current, &raw mut pending) };
        match self.check(&mig.mode, code) {
            Err(error) if error.is(&[Code::NOT_SUPPORTED]) => Ok(None),
            other => other.map(|()| (current == MIG_ENABLED).then_some(Divided { nvml: self, mig, gpu })),
        }
    }

    fn number(&self, call: &Call<GetNumberOf>, device: Device) -> Result<u32, Error> {
        let mut number = 0;
        // SAFETY: the handle is NVML's own, and it writes a number to where the pointer leads.
        let code = unsafe { (call.function)(device.0, &raw mut number) };
        self.check(call, code)?;
        Ok(number)
    }

    fn text(&self, call: &Call<GetText>, device: Device) -> Result<String, Error> {
        let mut text = [0_u8; TEXT as usize];
        // SAFETY: the handle is NVML's own, and it writes no more than the length that it is told, with the NUL.
        let code = unsafe { (call.function)(device.0, text.as_mut_ptr().cast(), TEXT) };
        self.check(call, code)?;
        let answer = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        match CStr::from_bytes_until_nul(&text).map(CStr::to_str) {
            Ok(Ok(text)) => Ok(text.to_owned()),
            _ => Err(Error::Answer { function: call.name, answer: answer(&text) }),
        }
    }

    fn check<F>(&self, call: &Call<F>, code: c_int) -> Result<(), Error> {
        let code = Code(code);
        if code == Code::SUCCESS {
            return Ok(());
        }
        Err(Error::Call { function: call.name, code, says: self.say(code) })
    }

    fn say(&self, code: Code) -> String {
        // SAFETY: it takes any number, also before it is initialised.
        let text = unsafe { (self.error_string.function)(code.0) };
        if text.is_null() {
            return String::new();
        }
        // SAFETY: it is a text that ends with NUL and lives as long as the library.
        unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
    }
}

impl Divided<'_> {
    /// How many indexes of MIG devices there can be.
    pub(super) fn places(&self) -> Result<u32, Error> {
        self.nvml.number(&self.mig.places, self.gpu)
    }

    /// The MIG device with this index; none where there is none.
    pub(super) fn device(&self, index: u32) -> Result<Option<Device>, Error> {
        let mut mig = ptr::null_mut();
        // SAFETY: the handle is NVML's own, and it writes a handle to where the pointer leads.
        let code = unsafe { (self.mig.device.function)(self.gpu.0, index, &raw mut mig) };
        match self.nvml.check(&self.mig.device, code) {
            Err(error) if error.is(&[Code::NOT_FOUND, Code::INVALID_ARGUMENT]) => Ok(None),
            other => other.map(|()| Some(Device(mig))),
        }
    }

    /// The number of a MIG device's GPU instance.
    pub(super) fn gpu_instance(&self, device: Device) -> Result<u32, Error> {
        self.nvml.number(&self.mig.gpu_instance, device)
    }

    /// The number of a MIG device's compute instance.
    pub(super) fn compute_instance(&self, device: Device) -> Result<u32, Error> {
        self.nvml.number(&self.mig.compute_instance, device)
    }
}

impl Mig {
    fn find(from: &Library, path: &Path) -> Result<Mig, Error> {
        Ok(Mig {
            mode: call!(from, path, "nvmlDeviceGetMigMode")?,
            places: call!(from, path, "nvmlDeviceGetMaxMigDeviceCount")?,
            device: call!(from, path, "nvmlDeviceGetMigDeviceHandleByIndex")?,
            gpu_instance: call!(from, path, "nvmlDeviceGetGpuInstanceId")?,
            compute_instance: call!(from, path, "nvmlDeviceGetComputeInstanceId")?,
        })
    }
}
