// SPDX-License-Identifier: GPL-2.0
/*
 * Takes one of the things that wgvia takes on a stock kernel, so that wgvia does not
 * get it: the type of lightweight tunnel, or a function of wireguard.ko.
 */

#include <linux/ftrace.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/static_call.h>
#include <net/lwtunnel.h>

static char *what = "";
module_param(what, charp, 0444);
MODULE_PARM_DESC(what, "type, direct (as a BPF program does) or ipmodify (as a livepatch does)");

static const struct lwtunnel_encap_ops encap_ops = { .owner = THIS_MODULE };

static void *no_lookup(void *table, void *skb)
{
	return NULL;
}

DEFINE_STATIC_CALL(lookup, no_lookup);

/* Does nothing of its own */
static void *lookup_dst(void *table, void *skb)
{
	return static_call(lookup)(table, skb);
}

static void see(unsigned long ip, unsigned long parent_ip, struct ftrace_ops *ops,
		struct ftrace_regs *regs)
{
}

static struct ftrace_ops direct_ops;
static struct ftrace_ops ipmodify_ops = {
	.func = see,
	.flags = FTRACE_OPS_FL_SAVE_REGS | FTRACE_OPS_FL_IPMODIFY,
};

static unsigned long entry_of(const char *name)
{
	struct kprobe kp = { .symbol_name = name, .flags = KPROBE_FLAG_DISABLED };
	unsigned long entry;

	if (register_kprobe(&kp))
		return 0;
	entry = (unsigned long)kp.addr;
	unregister_kprobe(&kp);
	return entry;
}

static int take_function(struct ftrace_ops *ops)
{
	unsigned long entry = entry_of("wireguard:wg_allowedips_lookup_dst");
	int err;

	if (!entry)
		return -ENOENT;
	err = ftrace_set_filter_ip(ops, entry, 0, 1);
	if (err)
		return err;
	if (ops == &ipmodify_ops)
		return register_ftrace_function(ops);
	static_call_update(lookup, (void *)(entry + MCOUNT_INSN_SIZE));
	return register_ftrace_direct(ops, ftrace_jmp_set((unsigned long)lookup_dst));
}

static int __init rival_init(void)
{
	if (!strcmp(what, "type"))
		return lwtunnel_encap_add_ops(&encap_ops, LWTUNNEL_ENCAP_IOAM6) ? -EBUSY : 0;
	if (!strcmp(what, "direct"))
		return take_function(&direct_ops);
	if (!strcmp(what, "ipmodify"))
		return take_function(&ipmodify_ops);
	return -EINVAL;
}

static void __exit rival_exit(void)
{
	if (!strcmp(what, "type"))
		lwtunnel_encap_del_ops(&encap_ops, LWTUNNEL_ENCAP_IOAM6);
	else if (!strcmp(what, "direct"))
		unregister_ftrace_direct(&direct_ops,
					 ftrace_jmp_set((unsigned long)lookup_dst), true);
	else
		unregister_ftrace_function(&ipmodify_ops);
	/* lookup_dst() runs with BH disabled. */
	synchronize_net();
}

module_init(rival_init);
module_exit(rival_exit);
MODULE_DESCRIPTION("Takes what wgvia wants");
MODULE_LICENSE("GPL");
