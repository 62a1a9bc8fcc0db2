# Shared by the scripts beside it: source it, do not run it.

# install_packages PACKAGE...: installs those of the Debian packages that are missing.
install_packages() {
    local missing=() package
    for package in "$@"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -gt 0 ] || return 0
    command -v apt-get >/dev/null || {
        echo "Error: missing ${missing[*]}, and this is no Debian or Ubuntu machine." >&2
        echo "Hint: install them by your system's means and run this again." >&2
        return 1
    }
    local sudo=()
    [ "$(id -u)" -eq 0 ] || sudo=(sudo)
    echo "Installing ${missing[*]}"
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q "${missing[@]}" >/dev/null 2>&1 || {
        "${sudo[@]}" apt-get update -q >/dev/null
        "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q "${missing[@]}" >/dev/null
    }
}

# require_cargo: fails with a next step where there is no Rust toolchain.
require_cargo() {
    command -v cargo >/dev/null && return 0
    echo "Error: cargo not found." >&2
    echo "Hint: install Rust from https://rustup.rs and run this again." >&2
    return 1
}

# softhsm_module: prints the path of SoftHSM's PKCS#11 module.
softhsm_module() {
    local path
    for path in /usr/lib/softhsm/libsofthsm2.so /usr/lib/*/softhsm/libsofthsm2.so /usr/local/lib/softhsm/libsofthsm2.so; do
        [ -e "$path" ] && { echo "$path"; return 0; }
    done
    echo "Error: SoftHSM's module libsofthsm2.so not found." >&2
    return 1
}

# pkcs11_spy: prints the path of OpenSC's module that logs the calls to another.
pkcs11_spy() {
    local path
    for path in /usr/lib/*/pkcs11-spy.so /usr/lib/*/pkcs11/pkcs11-spy.so /usr/lib/pkcs11-spy.so; do
        [ -e "$path" ] && { echo "$path"; return 0; }
    done
    echo "Error: OpenSC's module pkcs11-spy.so not found." >&2
    return 1
}
