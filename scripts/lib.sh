# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
#
# Shared by the scripts: where things are, messages, root, stamps. Sourced.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
build=$(realpath -m "${BUILD:-$top/build}")
root=$build/root

# Inside the build root and inside the guest the project is /wgvia and the
# products are /build, wherever they are on the host.
in_top=/wgvia
in_build=/build

say() { printf 'wgvia: %s\n' "$*" >&2; }
die() { printf 'wgvia: error: %s\n' "$*" >&2; exit 1; }

# Settings that must get through sudo and into the build root.
carried=(BUILD KSRC KERNEL TESTS JOBS WGVIA_MIRROR WGVIA_UID WGVIA_GID TERM
	SSL_CERT_FILE CARGO_HTTP_CAINFO
	http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY)

carry() {
	local v
	for v in "${carried[@]}"; do
		[[ -z ${!v+set} ]] || printf '%s=%s\n' "$v" "${!v}"
	done
}

# become_root "$@": go on as root. One sudo for a whole script, so that it asks
# for a password once; what is compiled is compiled as the caller all the same
# (in-root --user).
become_root() {
	local env
	: "${WGVIA_UID:=$(id -u)}" "${WGVIA_GID:=$(id -g)}"
	export WGVIA_UID WGVIA_GID
	[[ $EUID -ne 0 ]] || return 0
	command -v sudo >/dev/null ||
		die "making and entering the build root needs root: become root, or install sudo"
	sudo -n true 2>/dev/null ||
		say "sudo is used to make a Debian root with mmdebstrap and to enter it (mount, chroot)"
	mapfile -t env < <(carry)
	exec sudo env "${env[@]}" "$(realpath "$0")" "$@"
}

# own PATH...: give what root made to the user who called.
own() { chown -h "${WGVIA_UID:-0}:${WGVIA_GID:-0}" "$@"; }

make_dirs() {
	local d
	for d in "$build" "$build"/{stamp,log,home}; do
		[[ -d $d ]] || { mkdir -p "$d"; own "$d"; }
	done
}

# lock NAME: whoever else makes this in the build folder has to end first. Until fd 9 is closed.
lock() {
	exec 9>"$build/stamp/$1.lock"
	flock -n 9 || { say "$1: another run makes it in $build, waits"; flock 9; }
}

# guests shared|exclusive: guests share the root, whoever changes it waits for
# them to end, and has the next turn.
guests() {
	exec 7>"$build/.turn" 8>"$build/.guests"
	flock 7
	if [[ $1 == shared ]]; then flock -s 8; else flock 8; fi
	exec 7>&-
}

# digest PATH...: one hash of the names and contents of files and folders.
digest() {
	local p
	for p in "$@"; do
		[[ -e $p ]] || continue
		(cd "$(dirname "$p")" && find -L "$(basename "$p")" \
			\( -name target -o -name __pycache__ \) -prune -o -type f -print0 |
			LC_ALL=C sort -z | xargs -0r sha256sum)
	done | sha256sum | cut -d' ' -f1
}

stamp_of() { cat "$build/stamp/$1" 2>/dev/null || true; }

# code FUNCTION...: one hash of these functions of this file, for the inputs of a step
code() { declare -f "$@" | sha256sum | cut -d' ' -f1; }

# progress NAME LOG [SECONDS]: each minute say for how long the step has run, how long it took
# the last time, and where it is, until this script ends
progress() {
	local start=$SECONDS next=60 pause
	exec 7>&- 8>&- 9>&- {pause}<> <(:)
	while kill -0 $$ 2>/dev/null; do
		# The built-in wait: a sleep would outlive this.
		read -r -t 2 -u "$pause" || true
		((SECONDS - start >= next)) || continue
		say "$1: $next s${3:+ of about $3}: $(tail -n 1 "$2" | tr -dc '[:print:]' | cut -c 1-60)"
		next=$((next + 60))
	done
}

# step NAME INPUTS WHAT COMMAND...: run COMMAND (a script) unless it has already
# succeeded for these INPUTS (a string, mostly a digest), or does so in another run. What it
# prints goes to a log, and its end to the screen when it fails.
step() {
	local name=$1 inputs=$2 what=$3 log start status=0 ticker
	shift 3
	[[ $(stamp_of "$name") != "$inputs" ]] || return 0
	lock "$name"
	[[ $(stamp_of "$name") != "$inputs" ]] || { exec 9>&-; return 0; }
	log=$build/log/$name.log
	say "$name: $what"
	rm -f "$build/stamp/$name"
	: >"$log"
	start=$SECONDS
	progress "$name" "$log" "$(cat "$log.seconds" 2>/dev/null || true)" &
	ticker=$!
	"$@" >"$log" 2>&1 || status=$?
	kill "$ticker" 2>/dev/null || true
	wait "$ticker" 2>/dev/null || true
	own "$log"
	if ((status)); then
		tail -n 40 "$log" >&2
		die "$name failed, the whole of it is in $log"
	fi
	echo $((SECONDS - start)) >"$log.seconds"
	printf '%s\n' "$inputs" >"$build/stamp/$name"
	own "$log.seconds" "$build/stamp/$name"
	exec 9>&-
	say "$name: done in $((SECONDS - start)) s"
}

# The kernels we know are the fragments that exist.
check_kernel() {
	[[ $1 =~ ^[a-z0-9-]+$ && -e $top/configs/$1.config ]] ||
		die "there is no kernel '$1': configs/ has $(cd "$top/configs" && echo *.config | sed 's/\.config//g')"
}

# fragments NAME: the files that configure the kernel NAME, a line each: its own, on top of
# those of the kernel in its line "# base: ...", or of base if it has no such line. None
# come before it with "# base: none".
fragments() {
	local base
	base=$(sed -n 's/^# base: //p' "$top/configs/$1.config")
	[[ $1 == base || $base == none ]] || fragments "${base:-base}"
	echo "$top/configs/$1.config"
}

# make_flags NAME: the kernel's make flags, from the line "# make: ..." of its fragment, or
# else of the nearest below it. Kernel and modules are built with the same.
make_flags() {
	local configs
	mapfile -t configs < <(fragments "$1")
	sed -n 's/^# make: //p' "${configs[@]}" | tail -n 1
}

# way NAME: the module's way into the kernel NAME, from the line "# way: ..." of its
# fragment: patched (that is with our series), stock (without it), or none: there is no
# module for this kernel.
way() {
	local way
	way=$(sed -n 's/^# way: //p' "$top/configs/$1.config")
	echo "${way:-patched}"
}

# flavour NAME: the flavour of Debian's own kernel that NAME is, from the line
# "# flavour: ..." of its fragment. None if it is a kernel that we build.
flavour() { sed -n 's/^# flavour: //p' "$top/configs/$1.config"; }

# The kernel NAME: its source tree (built in place), or, of Debian's own, what is like a
# source tree to who builds a module; what it installs.
kernel_tree() { echo "$build/kernel-$1/linux"; }
kernel_install() { echo "$build/kernel-$1/install"; }

# kernel_has NAME OPTION: is it built with CONFIG_OPTION=y?
kernel_has() { grep -sqx "CONFIG_$2=y" "$(kernel_tree "$1")/.config"; }

# The module's source files, relative to the top; not what a build of the
# module in the tree itself (KDIR=) has left there.
module_files() {
	(cd "$top" && find Kbuild ./*.rs net policy netlink/generated include -type f \
		! -name '*.o' ! -name '.*' ! -name 'bindings_generated.rs' ! -name shims.c ! -name layout.h)
}

# Where WireGuard is in the kernel's source.
wireguard=drivers/net/wireguard

# of_wireguard MUTANT: does the patch change WireGuard, and not the module?
of_wireguard() { grep -q "^+++ b/$wireguard/" "$1"; }

# make_module NAME COPY WORD...: make WORD... for the module and the kernel NAME,
# in a copy of the module's source that is called COPY.
make_module() {
	local name=$1 copy=$build/kernel-$1/$2 flags ko
	shift 2
	read -ra flags < <(make_flags "$name")
	mkdir -p "$copy"
	# Not what has gone from the source since: Rust would find it.
	(cd "$copy" && comm -13 <(module_files | sed 's,^\./,,' | sort) \
		<(find . -name '*.rs' ! -name bindings_generated.rs | sed 's,^\./,,' | sort) | xargs -r rm)
	module_files | rsync -rlpc --files-from=- "$top/" "$copy/"
	# For the way into a kernel that is fetched, not built: see Kbuild
	ko=$(compgen -G "$(kernel_install "$name")/lib/modules/*/kernel/drivers/net/wireguard/wireguard.ko*" | head -n 1)
	make -C "$(kernel_tree "$name")" M="$copy" WGVIA_WIREGUARD_KO="$ko" "${flags[@]}" "$@"
}

# test_files: the test files, relative to the top: every program in selftests/ and its
# folders, but not in those whose programs the tests and other runs use.
test_files() {
	(cd "$top" && find selftests -type f -perm -u+x \
		! -path 'selftests/lib/*' ! -path 'selftests/hardening/*' | sort)
}

# boot_words FILE: what a test file wants on the kernel's command line
boot_words() { sed -n 's/^# boot: //p' "$1"; }

# pinned_source: the kernel source that our series is made for, as apt names it: PACKAGE=VERSION
pinned_source() { grep ^linux-source "$top/scripts/root-packages"; }

# root_source: the kernel source that the root has, in the same way
root_source() { dpkg-query --root="$root" -W -f='${Package}=${Version}\n' 'linux-source-*'; }

# mirror_lists SUITE...: fetch the mirror's lists of these suites into build/apt, and set
# apt to the options with which the host's apt commands use them and nothing of the host's.
mirror_lists() {
	local dir=$build/apt mirror suite
	mirror=$("$top/scripts/debian-mirror")
	mkdir -p "$dir"/{lists,archives}/partial
	# Until this script ends
	exec 6>"$dir/.lock"
	flock 6
	for suite; do
		apt_source deb "$mirror" "$suite"
	done >"$dir/sources.list"
	apt=(-o APT::Architecture=amd64 -o APT::Sandbox::User=root -o Acquire::Retries=3
		-o Acquire::Languages=none
		-o Dir::Etc::sourcelist="$dir/sources.list" -o Dir::Etc::sourceparts=-
		-o Dir::Etc::preferences=/dev/null -o Dir::Etc::preferencesparts=/dev/null
		-o Dir::State::status=/dev/null -o Dir::State::lists="$dir/lists"
		-o Dir::Cache::archives="$dir/archives"
		-o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=)
	apt-get "${apt[@]}" -q update >&2
}

# apt_source deb|deb-src MIRROR SUITE: an entry of apt's sources. Signed, and maybe old: a mirror
# may be a snapshot, the versions are ours to pin.
apt_source() {
	echo "$1 [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg check-valid-until=no] $2 $3 main"
}

# has_9p ROOT RELEASE: can Debian's kernel of that release have its root on 9p
has_9p() { ! grep -qs '^# CONFIG_NET_9P is not set' "$1/boot/config-$2"; }

# vng_command NAME [ROOT RELEASE]: virtme-ng's command line to boot the kernel NAME, or the
# kernel RELEASE of the Debian in build/ROOT on that, a word a line. The root is read-only
# and nobody changes it while a guest runs, so the guest may cache it; root= names the 9p
# export for a kernel without CONFIG_BLOCK. Debian's own kernel has 9p and virtio as
# modules, so it gets an initramfs of ours: virtme-ng's does not let the guest cache, which
# makes it slow. Caches that are merged could not be told apart by leaks.sh, and would not be missed
# when they are destroyed with something in them.
vng_command() {
	local kernel release=${3:-}
	if [[ $release ]]; then
		kernel=$in_build/$2/usr/lib/modules/$release/vmlinuz
		printf '%s\n' vng --root "$in_build/$2"
	else
		release=$(<"$(kernel_tree "$1")/include/config/kernel.release")
		kernel=$release
		echo vng
	fi
	printf '%s\n' --run "$kernel" --user root --force-9p --qemu-opts=-no-reboot \
		--append "panic=-1 slab_nomerge root=/dev/root rootflags=version=9p2000.L,trans=virtio,access=any,cache=loose,msize=262144"
	[[ -z $(flavour "$1") ]] ||
		printf '%s\n' --skip-modules --append virtme_root_mods=1 \
			"--qemu-opts=-initrd ${2:+$in_build/$2}/boot/initrd-$release"
}
