"use strict";
// The menu entry opens the page with the selected text. This needs no permission to read a site.
chrome.runtime.onInstalled.addListener(() => chrome.contextMenus.create(
  {id: "read", title: "Read “%s”", contexts: ["selection"]}));
chrome.contextMenus.onClicked.addListener(({selectionText}) => chrome.windows.create(
  {url: `page.html#${encodeURIComponent(selectionText)}`, type: "popup", width: 560, height: 720}));
