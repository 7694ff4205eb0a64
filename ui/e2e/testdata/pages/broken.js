console.error("an error on the console");
document.querySelector("#grey").attributeStyleMap.set("color", "rgb(220,220,220)");
document.querySelector("h1").append(document.createElement("b"));
setTimeout(() => { throw new Error("nobody catches this"); });
try { document.querySelector("b").innerHTML = "<i>text</i>"; } catch (e) { /* the policy says it */ }
