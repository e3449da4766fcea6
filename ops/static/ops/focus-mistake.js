// Focus the field with `autofocus`: unfold's script shows the page too late for browsers to do it themselves.
"use strict";

addEventListener("load", () => requestAnimationFrame(() => document.querySelector("[autofocus]")?.focus()));
