// SPDX-License-Identifier: GPL-2.0
/*
 * wireguard.ko without our patches: keep it loaded, find its functions, and have
 * four of them replaced for as long as this module is loaded.
 *
 * The call to the function tracer at the entry of a function becomes a jump to
 * ours. The replaced function starts behind it, where ours call it.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/fs.h>
#include <linux/ftrace.h>
#include <linux/kmod.h>
#include <linux/kprobes.h>
#include <linux/netdevice.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/srcu.h>

#include "stock.h"
#include "wireguard_ko.h"

#if !defined(CONFIG_DYNAMIC_FTRACE_WITH_JMP) || !defined(CONFIG_HAVE_STATIC_CALL_INLINE)
#error "this kernel cannot have functions of wireguard.ko replaced: apply patches/linux to it"
#endif

/* Routes name a peer in a type of lightweight tunnel that this kernel does not use:
 * tools have to know which. 0 if there is none. Read as a file of sysfs.
 */
static ushort encap_type;
module_param(encap_type, ushort, 0444);
MODULE_PARM_DESC(encap_type, "the type of lightweight tunnel by which a route names a peer (read only)");

MODULE_ALIAS("rtnl-lwt-IOAM6");

void wgvia_stock_set_encap_type(u16 type)
{
	encap_type = type;
}

struct module *wgvia_wireguard;

#define LAYOUT(struct, member, bytes) { #struct, #member, bytes },
const struct wgvia_layout wgvia_layouts[] = { WG_LAYOUT(LAYOUT) };
const size_t wgvia_layouts_len = ARRAY_SIZE(wgvia_layouts);

struct wg_peer *wgvia_wg_no_lookup(struct allowedips *table, struct sk_buff *skb)
{
	return NULL;
}

void wgvia_wg_no_change(struct pubkey_hashtable *table, struct wg_peer *peer)
{
}

struct wg_peer *wgvia_wg_no_find(struct pubkey_hashtable *table, const u8 *key)
{
	return NULL;
}

void wgvia_wg_no_put(struct wg_peer *peer)
{
}

DEFINE_STATIC_CALL(wg_allowedips_lookup_dst, wgvia_wg_no_lookup);
DEFINE_STATIC_CALL(wg_allowedips_lookup_src, wgvia_wg_no_lookup);
DEFINE_STATIC_CALL(wg_pubkey_hashtable_add, wgvia_wg_no_change);
DEFINE_STATIC_CALL(wg_pubkey_hashtable_remove, wgvia_wg_no_change);
DEFINE_STATIC_CALL(wg_pubkey_hashtable_lookup, wgvia_wg_no_find);
DEFINE_STATIC_CALL(wg_peer_put, wgvia_wg_no_put);

enum { ADD, REMOVE, LOOKUP_DST, LOOKUP_SRC };

/* In this order: who is asked about packets has been told of all peers. */
static struct replaced {
	const char *name;
	void *ours;
	unsigned long entry;
	struct ftrace_ops ops;
	bool is_replaced;
} replaced[] = {
	[ADD] = { "wireguard:wg_pubkey_hashtable_add", wgvia_pubkey_hashtable_add },
	[REMOVE] = { "wireguard:wg_pubkey_hashtable_remove", wgvia_pubkey_hashtable_remove },
	[LOOKUP_DST] = { "wireguard:wg_allowedips_lookup_dst", wgvia_allowedips_lookup_dst },
	[LOOKUP_SRC] = { "wireguard:wg_allowedips_lookup_src", wgvia_allowedips_lookup_src },
};

/* wgvia_pubkey_hashtable_*() may sleep */
DEFINE_STATIC_SRCU(wgvia_stock_srcu);

void wgvia_pubkey_hashtable_add(struct pubkey_hashtable *table,
				struct wg_peer *peer)
{
	int idx = srcu_read_lock(&wgvia_stock_srcu);

	static_call(wg_pubkey_hashtable_add)(table, peer);
	wgvia_stock_peer_added(peer);
	srcu_read_unlock(&wgvia_stock_srcu, idx);
}

void wgvia_pubkey_hashtable_remove(struct pubkey_hashtable *table,
				   struct wg_peer *peer)
{
	int idx = srcu_read_lock(&wgvia_stock_srcu);

	static_call(wg_pubkey_hashtable_remove)(table, peer);
	wgvia_stock_peer_removed(peer);
	srcu_read_unlock(&wgvia_stock_srcu, idx);
}

static struct module *get_wireguard(void)
{
	struct kobject *kobj = kset_find_obj(THIS_MODULE->mkobj.kobj.kset, "wireguard");
	struct module *mod;

	if (!kobj)
		return NULL;
	mod = container_of(kobj, struct module_kobject, kobj)->mod;
	/* Of code that is built in there is no module. One that is still loading can be
	 * freed whoever holds it.
	 */
	if (mod && (READ_ONCE(mod->state) != MODULE_STATE_LIVE || !try_module_get(mod)))
		mod = NULL;
	kobject_put(kobj);
	return mod;
}

/* Loads wireguard.ko if need be, and keeps it loaded. A soft dependency would have
 * modprobe pass over "install wgvia /bin/false", by which a host refuses the module.
 */
int wgvia_stock_pin(void)
{
	wgvia_wireguard = get_wireguard();
	if (!wgvia_wireguard) {
		request_module("wireguard");
		wgvia_wireguard = get_wireguard();
	}
	if (wgvia_wireguard)
		return 0;
	pr_err("there is no module wireguard: load it, it may not be built in\n");
	return -ENODEV;
}

void wgvia_stock_unpin(void)
{
	module_put(wgvia_wireguard);
}

/* Reads a file of sysfs. Returns its length; the caller frees *data by vfree(). It is
 * none of the kinds of files that security modules know for kernel_read_file(), so that
 * IPE warns of it there.
 */
ssize_t wgvia_stock_read_btf(const char *path, void **data)
{
	struct file *file = filp_open(path, O_RDONLY, 0);
	ssize_t len = 0, size, ret = 0;
	loff_t pos = 0;

	*data = NULL;
	if (IS_ERR(file))
		return PTR_ERR(file);
	size = i_size_read(file_inode(file));
	if (size > 0 && size < INT_MAX)
		*data = vmalloc(size);
	if (!*data)
		ret = -ENOMEM;
	while (!ret && len < size) {
		ret = kernel_read(file, *data + len, size - len, &pos);
		if (ret <= 0)
			break;
		len += ret;
		ret = 0;
	}
	filp_close(file, NULL);
	if (ret < 0) {
		vfree(*data);
		*data = NULL;
		return ret;
	}
	return len;
}

/* Finds a function by "MODULE:NAME": a fork of WireGuard may have the same name.
 * Returns where its call to the function tracer is, or 0.
 */
static unsigned long entry_of(const char *name)
{
	struct kprobe kp = { .symbol_name = name, .flags = KPROBE_FLAG_DISABLED };
	unsigned long entry;
	int err = register_kprobe(&kp);

	if (err) {
		pr_err("%s is not found (%d): wgvia does not know this kernel's WireGuard\n",
		       name, err);
		return 0;
	}
	entry = (unsigned long)kp.addr;
	unregister_kprobe(&kp);
	return entry;
}

static void restore(struct replaced *r)
{
	int err = unregister_ftrace_direct(&r->ops, ftrace_jmp_set((unsigned long)r->ours),
					   true);

	r->is_replaced = false;
	if (!err)
		return;
	/* The function still jumps into this module, which nobody may free then. */
	pr_err("%s cannot be restored (%d), ftrace is dead: wgvia stays until the next boot\n",
	       r->name, err);
	for (;;)
		schedule_timeout_idle(MAX_SCHEDULE_TIMEOUT);
}

void wgvia_stock_stop(void)
{
	for (int i = ARRAY_SIZE(replaced) - 1; i >= 0; i--) {
		if (replaced[i].is_replaced)
			restore(&replaced[i]);
	}
	/* The lookups run with BH disabled. */
	synchronize_net();
	/* The others sleep in an SRCU section, and outside of it may be preempted. */
	synchronize_rcu_tasks();
	synchronize_srcu(&wgvia_stock_srcu);
	synchronize_rcu_tasks();
}

static int replace(struct replaced *r)
{
	int err;

	r->ops.flags |= FTRACE_OPS_FL_PERMANENT;
	err = ftrace_set_filter_ip(&r->ops, r->entry, 0, 1);
	if (!err) {
		err = register_ftrace_direct(&r->ops,
					     ftrace_jmp_set((unsigned long)r->ours));
		if (err)
			ftrace_free_filter(&r->ops);
	}
	r->is_replaced = !err;
	if (err == -EBUSY)
		pr_err("%s is replaced or traced by something else, a BPF program or a livepatch: end that first\n",
		       r->name);
	else if (err)
		pr_err("%s cannot be replaced (%d)\n", r->name, err);
	return err;
}

/* Replaces the functions. wireguard.ko is pinned, and has the layout. */
int wgvia_stock_start(void)
{
	unsigned long find, put;
	int err = 0;

	for (int i = 0; i < ARRAY_SIZE(replaced); i++) {
		replaced[i].entry = entry_of(replaced[i].name);
		if (!replaced[i].entry)
			return -ENOENT;
	}
	find = entry_of("wireguard:wg_pubkey_hashtable_lookup");
	put = entry_of("wireguard:wg_peer_put");
	if (!find || !put)
		return -ENOENT;

#define BEHIND(i) ((void *)(replaced[i].entry + MCOUNT_INSN_SIZE))
	static_call_update(wg_pubkey_hashtable_add, BEHIND(ADD));
	static_call_update(wg_pubkey_hashtable_remove, BEHIND(REMOVE));
	static_call_update(wg_allowedips_lookup_dst, BEHIND(LOOKUP_DST));
	static_call_update(wg_allowedips_lookup_src, BEHIND(LOOKUP_SRC));
	static_call_update(wg_pubkey_hashtable_lookup, (void *)find);
	static_call_update(wg_peer_put, (void *)put);

	for (int i = 0; !err && i < ARRAY_SIZE(replaced); i++)
		err = replace(&replaced[i]);
	if (err)
		wgvia_stock_stop();
	return err;
}
