// HTML may pass, which htmx swaps; scripts and their addresses may not.
trustedTypes.createPolicy("default", {createHTML: (s) => s});
