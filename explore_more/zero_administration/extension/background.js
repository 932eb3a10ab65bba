"use strict";
// The menu of a selection opens the page with it; no permission to read any site is needed for that.
chrome.runtime.onInstalled.addListener(() => chrome.contextMenus.create(
  {id: "read", title: "Read “%s”", contexts: ["selection"]}));
chrome.contextMenus.onClicked.addListener(({selectionText}) => chrome.windows.create(
  {url: `page.html#${encodeURIComponent(selectionText)}`, type: "popup", width: 560, height: 720}));
