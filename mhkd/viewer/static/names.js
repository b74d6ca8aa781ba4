// Names of slides, classes and folders, which are anyone's, as they are shown.

/** What cannot be seen, or turns the writing round, is spelt out: a file named "x\u202Egpj.exe" is no picture. */
export function visible(text) {
  return text.replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu, (c) => {
    return `<U+${c.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")}>`;
  });
}
