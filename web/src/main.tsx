import { QueryClientProvider } from "@tanstack/react-query";
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import { App, loadPage } from "./app.tsx";
import { Caught } from "./caught.tsx";
import { queries } from "./data/live.ts";
import { Session } from "./session.tsx";
import { applyTheme } from "./theme.ts";

applyTheme();
loadPage(location.pathname);
const root = document.getElementById("root");
if (root)
  createRoot(root).render(
    <StrictMode>
      <QueryClientProvider client={queries}>
        <Caught path="">
          <Session>
            <App />
          </Session>
        </Caught>
      </QueryClientProvider>
    </StrictMode>,
  );
