// SPDX-License-Identifier: MIT

package vm

import "context"

func bestAccel(ctx context.Context, dir string, o Options) Accel { return TCG }
