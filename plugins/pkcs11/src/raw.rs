//! `C_Sign` alone, which `cryptoki` only offers together with `C_SignInit` and with a first call that
//! asks for the length.
//!
//! The length of a signature is known here, and modules exist that don't answer the question
//! (CKR_ARGUMENTS_BAD) or take it for the signature itself. A key with CKA_ALWAYS_AUTHENTICATE wants
//! its login between the two calls (PKCS#11 §5.6.8, CKU_CONTEXT_SPECIFIC). This is the only unsafe
//! code of the plugin.
#![allow(
    unsafe_code,
    reason = "one PKCS#11 function has to be called through the module's function list"
)]

use std::path::Path;

use cryptoki::context::Function;
use cryptoki::error::{Error, Rv};
use cryptoki::session::Session;
use cryptoki_sys::{CK_FUNCTION_LIST, CK_INTERFACE, CK_ULONG};

/// Room for a signature: RSA with 4096 bits has 512 bytes, and some modules want more than they fill.
const MAX_SIGNATURE: usize = 1024;

/// `C_Sign` of a module that is loaded already.
pub(crate) struct RawSign {
    /// Keeps the library loaded, and so the function below valid.
    _library: cryptoki_sys::Pkcs11,
    function: SignFunction,
}

type SignFunction = unsafe extern "C" fn(
    cryptoki_sys::CK_SESSION_HANDLE,
    *mut u8,
    CK_ULONG,
    *mut u8,
    *mut CK_ULONG,
) -> cryptoki_sys::CK_RV;

impl RawSign {
    /// Looks the function up. The file must be the one that `cryptoki` has loaded; the system's
    /// loader gives the same library again.
    pub(crate) fn load(module: &Path) -> Result<Self, Error> {
        // SAFETY: the library is loaded and initialized already, so loading it again runs no
        // code; the lists may be asked for at any time and stay valid as long as the library is
        // loaded.
        unsafe {
            let library = cryptoki_sys::Pkcs11::new(module).map_err(Error::LibraryLoading)?;
            let list = function_list(&library)?;
            if list.is_null() {
                return Err(Error::NullFunctionPointer);
            }
            // The list is packed on some systems: read it without a reference.
            let function = (&raw const (*list).C_Sign).read_unaligned();
            Ok(Self {
                _library: library,
                function: function.ok_or(Error::NullFunctionPointer)?,
            })
        }
    }

    /// Finishes the signature that `session` has begun, in one call.
    pub(crate) fn finish(&self, session: &Session, data: &[u8]) -> Result<Vec<u8>, Error> {
        let mut data = data.to_vec();
        let mut signature = vec![0_u8; MAX_SIGNATURE];
        let mut length = CK_ULONG::try_from(signature.len())?;
        // SAFETY: the session is open as long as it is borrowed, and used by this thread alone
        // (`Session` is not `Sync`); both buffers live through the call and have the lengths
        // that are passed.
        let rv = unsafe {
            (self.function)(
                session.handle(),
                data.as_mut_ptr(),
                CK_ULONG::try_from(data.len())?,
                signature.as_mut_ptr(),
                &raw mut length,
            )
        };
        Rv::from(rv).into_result(Function::Sign)?;
        signature.truncate(usize::try_from(length)?);
        Ok(signature)
    }
}

/// The function list of 2.40, or of the default interface where a module of version 3 has no other;
/// both begin with the same functions.
///
/// # Safety
/// As for any call into a foreign library.
unsafe fn function_list(library: &cryptoki_sys::Pkcs11) -> Result<*const CK_FUNCTION_LIST, Error> {
    // SAFETY: the caller's; out-pointers live through the calls.
    unsafe {
        if library.C_GetFunctionList.is_ok() {
            let mut list: *mut CK_FUNCTION_LIST = std::ptr::null_mut();
            Rv::from(library.C_GetFunctionList(&raw mut list))
                .into_result(Function::GetFunctionList)?;
            return Ok(list);
        }
        if library.C_GetInterface.is_err() {
            return Err(Error::MissingSymbol("C_GetFunctionList"));
        }
        let mut interface: *mut CK_INTERFACE = std::ptr::null_mut();
        Rv::from(library.C_GetInterface(
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            &raw mut interface,
            0,
        ))
        .into_result(Function::GetInterface)?;
        if interface.is_null() {
            return Err(Error::NullFunctionPointer);
        }
        let list = (&raw const (*interface).pFunctionList).read_unaligned();
        Ok(list.cast_const().cast())
    }
}
