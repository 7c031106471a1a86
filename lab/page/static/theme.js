// SPDX-License-Identifier: MIT

// Sets theme and type size before anything is painted. A classic script in the head, because modules
// come later; what cannot be remembered (no storage) is the system's choice.
"use strict";
(() => {
  const root = document.documentElement;
  for (const what of ["theme", "size"]) {
    try {
      const value = localStorage.getItem("oasis6-" + what);
      if (value) root.dataset[what] = value;
    } catch {
      // Storage is forbidden.
    }
  }
})();
