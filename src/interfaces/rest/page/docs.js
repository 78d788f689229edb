// Everything comes from this host: no proxy, no fonts, no telemetry, no assistant.
// The colours are a darkroom's: paper by day, the safelight's red by night.
const COLOURS = `
.section:focus, .section:focus-visible { outline: none; }
.light-mode {
  --scalar-color-accent: #b3261e;
  --scalar-background-accent: #b3261e14;
  --scalar-sidebar-color-active: #b3261e;
  --scalar-sidebar-item-active-background: #b3261e12;
}
.dark-mode {
  --scalar-background-1: #140e0e;
  --scalar-background-2: #1d1515;
  --scalar-background-3: #2a1e1e;
  --scalar-border-color: #3a2a2a;
  --scalar-color-1: #f5eceb;
  --scalar-color-2: #c4b2b0;
  --scalar-color-3: #957f7d;
  --scalar-color-accent: #ff6a5f;
  --scalar-background-accent: #ff6a5f1f;
  --scalar-sidebar-background-1: #110b0b;
  --scalar-sidebar-color-active: #ff8a80;
  --scalar-sidebar-item-active-background: #ff6a5f1f;
}
`;

const LOOK = {
  customCss: COLOURS,
  proxyUrl: "",
  telemetry: false,
  withDefaultFonts: false,
  agent: { disabled: true },
  mcp: { disabled: true },
  showDeveloperTools: "never",
  hideClientButton: true,
  documentDownloadType: "json",
  defaultHttpClient: { targetKey: "shell", clientKey: "curl" },
  authentication: { preferredSecurityScheme: "apiKey" },
  orderSchemaPropertiesBy: "preserve",
};

// What the guide shows can be pasted as it stands: it names the host that serves it.
fetch("/openapi.json")
  .then((answer) => answer.text())
  .then((text) => text.replaceAll("http://127.0.0.1:8000", location.origin))
  .then((content) => Scalar.createApiReference("#reference", { content, ...LOOK }));
