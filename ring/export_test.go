// SPDX-License-Identifier: MIT

package ring

// NoSpin makes every wait a sleep, so that each one is a race of arming and
// publishing.
func (p *Producer) NoSpin() { p.spin = spinner{} }

// NoSpin makes every wait a sleep.
func (c *Consumer) NoSpin() { c.spin = spinner{} }
