// SPDX-License-Identifier: MIT

package main

import "context"

func buildModule(ctx context.Context, args []string) error { return errUsage }
