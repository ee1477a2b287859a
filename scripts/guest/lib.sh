# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Shared by the scripts that run the kernel's own tests with wgvia and without
# it. Sourced, in the guest.

# bring_module loaded|absent: load wgvia, or see to it that nothing can
bring_module() {
	local files
	if [[ $1 == loaded ]]; then
		modprobe wgvia
		return
	fi
	# The guest's own copy of /usr.
	mapfile -t files < <(find "/usr/lib/modules/$(uname -r)" -name 'wgvia.ko*')
	((${#files[@]})) || return 0
	rm -f "${files[@]}"
	depmod
}

# module_is loaded|absent: said of the kernel that was tested, not of one that
# changed on the way
module_is() {
	if [[ $1 == loaded ]]; then
		[[ -d /sys/module/wgvia ]]
	else
		[[ ! -d /sys/module/wgvia ]]
	fi
}
