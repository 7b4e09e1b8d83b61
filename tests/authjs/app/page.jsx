// A page as an application of Auth.js has it. What it imports as `next-auth/react` is the unmodified client, of version 5 or 4.

import { useState } from "react";
import { createRoot } from "react-dom/client";
import { SessionProvider, getSession, signIn, signOut, useSession } from "next-auth/react";

const fields = (form) => Object.fromEntries(new FormData(form));

function Account() {
  const { data, status, update } = useSession();
  const [said, setSaid] = useState("");
  const tell = (answer) => {
    setSaid("");
    answer.then((value) => setSaid(JSON.stringify(value ?? null)));
  };
  const submit = (event, options) => {
    event.preventDefault();
    tell(signIn("credentials", { ...fields(event.target), ...options }));
  };
  return (
    <main>
      <p data-testid="status">{status}</p>
      <p data-testid="email">{data?.user?.email}</p>
      <p data-testid="expires">{data?.expires}</p>
      <output data-testid="said">{said}</output>
      <form aria-label="stay" onSubmit={(event) => submit(event, { redirect: false })}>
        <input name="email" aria-label="Email" />
        <input name="password" aria-label="Password" />
        <button>Sign in and stay</button>
      </form>
      <form aria-label="go" onSubmit={(event) => submit(event, { callbackUrl: "/welcome" })}>
        <input name="email" aria-label="Email" />
        <input name="password" aria-label="Password" />
        <button>Sign in and go</button>
      </form>
      <button onClick={() => signIn()}>Choose how to sign in</button>
      <button onClick={() => signIn("nobody")}>Sign in with nobody</button>
      <button onClick={() => signIn("corp", { callbackUrl: "/welcome" }, { login_hint: "ada@example.org" })}>Sign in with corp</button>
      <button onClick={() => tell(getSession())}>Get the session</button>
      <button onClick={() => tell(update())}>Update</button>
      <button onClick={() => tell(update({ theme: "dark" }))}>Update with data</button>
      <button onClick={() => tell(signOut({ redirect: false }))}>Sign out and stay</button>
      <button onClick={() => signOut({ callbackUrl: "/goodbye" })}>Sign out and go</button>
    </main>
  );
}

function Private() {
  const { data, status } = useSession({ required: true });
  return (
    <main>
      <p data-testid="status">{status}</p>
      <p data-testid="email">{data?.user?.email}</p>
    </main>
  );
}

createRoot(document.getElementById("root")).render(
  <SessionProvider>{location.pathname === "/private" ? <Private /> : <Account />}</SessionProvider>,
);
