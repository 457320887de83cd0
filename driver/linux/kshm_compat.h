/* SPDX-License-Identifier: GPL-2.0 OR MIT */
/* What differs between kernels from 6.1 on, and what kshm asks of all of them. */
#ifndef KSHM_COMPAT_H
#define KSHM_COMPAT_H

#ifndef CONFIG_64BIT
#error "kshm needs a 64-bit kernel: shared memory stays mapped for its whole life"
#endif

#ifndef CONFIG_MMU_NOTIFIER
#error "kshm needs CONFIG_MMU_NOTIFIER (KVM selects it): it tells when an address space ends"
#endif

#endif /* KSHM_COMPAT_H */
