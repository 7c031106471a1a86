// SPDX-License-Identifier: MIT

package lab

func lessons() []lesson { return nil }
