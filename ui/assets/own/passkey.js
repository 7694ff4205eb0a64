// Passkeys: asks the server for a challenge and the browser for the answer, puts
// the answer into the form and sends it like any other.

const decode = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0)).buffer;
const encode = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");

// options turns the server's JSON into what the browser wants.
function options(json) {
  const key = json.publicKey;
  key.challenge = decode(key.challenge);
  if (key.user) key.user.id = decode(key.user.id);
  for (const list of [key.allowCredentials, key.excludeCredentials]) {
    for (const c of list ?? []) c.id = decode(c.id);
  }
  return {publicKey: key};
}

// answer turns what the browser gave into JSON.
function answer(credential) {
  const out = {
    id: credential.id, rawId: encode(credential.rawId), type: credential.type, response: {},
    clientExtensionResults: credential.getClientExtensionResults(), authenticatorAttachment: credential.authenticatorAttachment ?? undefined,
  };
  for (const name of ["clientDataJSON", "attestationObject", "authenticatorData", "signature", "userHandle"]) {
    if (credential.response[name]) out.response[name] = encode(credential.response[name]);
  }
  if (credential.response.getTransports) out.response.transports = credential.response.getTransports();
  return JSON.stringify(out);
}

async function run(form) {
  const begun = await fetch(form.dataset.begin, {method: "POST", headers: {Accept: "application/json"}});
  if (!begun.ok) throw new Error("Coffer does not offer a passkey now.");
  const {challenge, handle} = await begun.json();
  const credential = form.dataset.passkey === "create"
    ? await navigator.credentials.create(options(challenge))
    : await navigator.credentials.get(options(challenge));
  const field = (name) => form.elements[name] ?? form.elements[`proof-${name}`];
  field("passkey").value = answer(credential);
  field("handle").value = handle;
  form.dataset.ready = "1";
  form.requestSubmit();
}

if (window.PublicKeyCredential) {
  for (const form of document.querySelectorAll("[data-passkey]")) {
    form.hidden = false;
    form.addEventListener("submit", (event) => {
      if (form.dataset.ready) return;
      event.preventDefault();
      event.stopPropagation();
      run(form).catch((error) => {
        let line = form.querySelector(".error");
        if (!line) {
          line = document.createElement("p");
          line.className = "error";
          line.setAttribute("role", "alert");
          form.append(line);
        }
        line.textContent = error.name === "NotAllowedError" ? "The passkey was not given." : error.message;
      });
    });
  }
}
