// The browser clients of Auth.js, unmodified, in a real Chromium against `hallpass serve`.

import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { addAccount, tokenOf } from "../browser/accounts.mjs";
import { assertNoFaults, launch, openDevice } from "../browser/browser.mjs";
import { recordSecret } from "../browser/secrets.mjs";
import { startProvider } from "../oidc/provider.mjs";
import { startApp } from "./app.mjs";

let browser;

before(async () => {
  browser = await launch();
});

after(async () => {
  await browser?.close();
});

/** What a client of each version is told of a wrong password. */
const WRONG = {
  5: { status: 200, ok: true, code: "credentials" },
  4: { status: 401, ok: false },
};

for (const [version, wrong] of Object.entries(WRONG)) {
  describe(`next-auth/react ${version}`, () => {
    let app;
    let account;
    let provider;

    before(async () => {
      provider = await startProvider();
      app = await startApp(version, {
        ...provider.settings,
        HALLPASS_PROVIDERS_CORP_SIGN_UP: "true",
        HALLPASS_PROVIDERS_CORP_LOGOUT_AT_PROVIDER: "true",
      });
      provider.register(app.origin);
      account = await addAccount(app.hallpass);
    });

    after(async () => {
      await app?.close();
      await provider?.close();
    });

    /** Opens the application in a profile of its own. */
    async function open(path = "/") {
      const device = await openDevice(browser, app.origin);
      await device.page.goto(path);
      return { ...device, ...controls(device.page) };
    }

    /** What a person sees and does on one page of the application. */
    function controls(page) {
      const text = (name) => page.getByTestId(name).textContent();
      return {
        press: (name) => page.getByRole("button", { name, exact: true }).click(),
        text,
        status: (status) => page.getByTestId("status").filter({ hasText: new RegExp(`^${status}$`) }).waitFor(),
        /** What the last call returned, once it has. */
        async said() {
          await page.getByTestId("said").filter({ hasText: /./ }).waitFor();
          return JSON.parse(await text("said"));
        },
        async fill(form, password) {
          const inside = page.getByRole("form", { name: form });
          await inside.getByLabel("Email").fill(account.email);
          await inside.getByLabel("Password").fill(password);
        },
      };
    }

    async function signedIn() {
      const device = await open();
      await device.status("unauthenticated");
      await device.fill("stay", account.password);
      await device.press("Sign in and stay");
      await device.said();
      await device.status("authenticated");
      recordSecret(await tokenOf(device));
      return device;
    }

    test("SessionProvider and useSession know that nobody is signed in", async () => {
      const device = await open();
      await device.status("unauthenticated");
      assert.equal(await device.text("email"), "");
      await device.press("Get the session");
      assert.equal(await device.said(), null);
      assertNoFaults(device);
      await device.context.close();
    });

    test("signIn without a redirect: right", async () => {
      const device = await open("/some/page?a=b#c");
      await device.status("unauthenticated");
      await device.fill("stay", account.password);
      await device.press("Sign in and stay");
      await device.status("authenticated");
      assert.equal(await device.text("email"), account.email);
      const expires = new Date(await device.text("expires"));
      assert.ok(expires > Date.now() + 29 * 86_400_000, `${expires}`);
      const said = await device.said();
      assert.deepEqual([said.status, said.ok, said.error ?? null], [200, true, null]);
      assert.equal(said.url, `${app.origin}/some/page?a=b#c`);
      recordSecret(await tokenOf(device));
      assertNoFaults(device);
      await device.context.close();
    });

    test("signIn without a redirect: wrong", async () => {
      const device = await open();
      await device.status("unauthenticated");
      await device.fill("stay", "the password of somebody else");
      await device.press("Sign in and stay");
      assert.deepEqual(await device.said(), { error: "CredentialsSignin", url: null, ...wrong });
      await device.status("unauthenticated");
      assert.equal(await tokenOf(device), undefined);
      assertNoFaults(device);
      await device.context.close();
    });

    test("signIn with a redirect: right, then wrong", async () => {
      const device = await open();
      await device.status("unauthenticated");
      await device.fill("go", account.password);
      await device.press("Sign in and go");
      await device.page.waitForURL("/welcome");
      await device.status("authenticated");
      recordSecret(await tokenOf(device));
      const other = await open();
      await other.fill("go", "the password of somebody else");
      await other.press("Sign in and go");
      await other.page.waitForURL((url) => url.pathname === "/signin");
      await other.page.getByRole("alert").filter({ hasText: "password is wrong" }).waitFor();
      assertNoFaults(device);
      assertNoFaults(other);
      await device.context.close();
      await other.context.close();
    });

    test("signIn without a provider, or with one that does not exist, shows the sign-in page and comes back", async () => {
      for (const button of ["Choose how to sign in", "Sign in with nobody"]) {
        const device = await open("/some/page");
        await device.status("unauthenticated");
        await device.press(button);
        await device.page.waitForURL((url) => url.pathname === "/signin");
        await signInOnOurPage(device);
        await device.page.waitForURL("/some/page");
        await device.status("authenticated");
        assert.equal(await device.text("email"), account.email);
        assertNoFaults(device);
        await device.context.close();
      }
    });

    test("signIn with a provider goes there and comes back signed in", async () => {
      const device = await open("/some/page");
      await device.status("unauthenticated");
      let asked;
      device.page.on("request", (request) => {
        if (request.url().startsWith(`${provider.issuer}/auth?`)) asked = new URL(request.url()).searchParams;
      });
      await device.press("Sign in with corp");
      await device.page.waitForURL("/welcome");
      await device.status("authenticated");
      assert.equal(await device.text("email"), provider.user.email);
      assert.equal(asked.get("login_hint"), "ada@example.org");
      recordSecret(await tokenOf(device));
      await device.context.close();
    });

    async function signInOnOurPage(device) {
      await device.page.getByLabel("Email").fill(account.email);
      await device.page.getByLabel("Password", { exact: true }).fill(account.password);
      await device.page.getByRole("button", { name: "Sign in" }).click();
      await device.page.waitForURL((url) => url.pathname !== "/signin");
      recordSecret(await tokenOf(device));
    }

    test("a page that requires a session sends to the sign-in page and shows itself afterwards", async () => {
      const device = await open("/private");
      await device.page.waitForURL((url) => url.pathname === "/signin");
      await signInOnOurPage(device);
      await device.page.waitForURL("/private");
      await device.status("authenticated");
      assert.equal(await device.text("email"), account.email);
      assertNoFaults(device);
      await device.context.close();
    });

    test("update, with data and without", async () => {
      const device = await signedIn();
      for (const [button, call] of [
        ["Update", version === "5" ? "GET /api/auth/session" : "POST /api/auth/session"],
        ["Update with data", "POST /api/auth/session"],
      ]) {
        const from = app.calls().length;
        await device.press(button);
        await device.page.getByTestId("said").filter({ hasText: '"expires"' }).waitFor();
        const said = await device.said();
        assert.deepEqual([said.user.email, Object.keys(said).sort()], [account.email, ["expires", "user"]]);
        await device.status("authenticated");
        const calls = app.calls().slice(from);
        assert.ok(calls.includes(call), `${button}: ${calls}`);
        // The next button's answer must not be mistaken for this one's.
        await device.page.reload();
        await device.status("authenticated");
      }
      assertNoFaults(device);
      await device.context.close();
    });

    test("signOut of a session that a provider began leads there and back; without a redirect it ends here alone", async () => {
      const device = await open();
      const signIn = async () => {
        await device.press("Sign in with corp");
        await device.page.waitForURL("/welcome");
        await device.status("authenticated");
        const token = await tokenOf(device);
        recordSecret(token);
        return token;
      };
      const isEnded = async (token) => {
        const headers = { cookie: `session=${token}` };
        return (await fetch(`${app.hallpass.origin}/api/sessions`, { headers, signal: AbortSignal.timeout(15_000) })).status === 401;
      };
      const first = await signIn();
      const asked = provider.interactions;
      await device.press("Sign out and stay");
      const { url } = await device.said();
      await device.status("unauthenticated");
      assert.ok(url.startsWith(`${provider.issuer}/session/end?`), url);
      assert.ok(await isEnded(first));
      const second = await signIn();
      assert.equal(provider.interactions, asked, "it is still signed in there");
      await device.press("Sign out and go");
      await device.page.getByRole("button", { name: "Yes, sign me out" }).click();
      await device.page.waitForURL("/goodbye");
      await device.status("unauthenticated");
      assert.ok(await isEnded(second));
      await signIn();
      assert.ok(provider.interactions > asked, "it asks who it is");
      await device.context.close();
    });

    test("signOut ends the session in the database, with a redirect and without", async () => {
      for (const [button, path] of [
        ["Sign out and stay", "/"],
        ["Sign out and go", "/goodbye"],
      ]) {
        const device = await signedIn();
        const token = await tokenOf(device);
        await device.press(button);
        await device.page.waitForURL(path);
        await device.status("unauthenticated");
        assert.equal(await tokenOf(device), undefined);
        const replay = await fetch(`${app.hallpass.origin}/api/sessions`, {
          headers: { cookie: `session=${token}` },
          signal: AbortSignal.timeout(15_000),
        });
        assert.equal(replay.status, 401);
        assertNoFaults(device);
        await device.context.close();
      }
    });

    test("two tabs: signing in and out in one is seen by the other", async () => {
      const first = await open();
      const second = controls(await first.context.newPage());
      const page = first.context.pages()[1];
      await page.goto(app.origin);
      await second.status("unauthenticated");
      // Without a redirect the client tells no other tab.
      await first.fill("go", account.password);
      // Version 4 tells them by a text with the second in it, and one that is the same as the last is not heard.
      await first.page.waitForFunction(
        () => JSON.parse(localStorage.getItem("nextauth.message") ?? "{}").timestamp !== Math.floor(Date.now() / 1000),
      );
      await first.press("Sign in and go");
      await first.page.waitForURL("/welcome");
      await first.status("authenticated");
      recordSecret(await tokenOf(first));
      await second.status("authenticated");
      assert.equal(await second.text("email"), account.email);
      await second.press("Sign out and stay");
      await second.status("unauthenticated");
      await first.status("unauthenticated");
      assertNoFaults(first);
      await first.context.close();
    });

    test("a session that the owner ended elsewhere is gone at the next look", async () => {
      const device = await signedIn();
      const { code } = await app.hallpass.run(["sessions", "revoke", "--user", account.email]);
      assert.equal(code, 0);
      await device.press("Get the session");
      assert.equal(await device.said(), null);
      await device.page.reload();
      await device.status("unauthenticated");
      assertNoFaults(device);
      await device.context.close();
    });
  });
}
